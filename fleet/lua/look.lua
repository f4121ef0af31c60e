-- look: a sign of life, what was used while this process was on its own, and
-- the state of everything.
--
-- ARGV: now, instance, charge, groups; of each group born and its buckets; of
-- each bucket kind and what was used.

local charge, groups = A[3] == '1', {}
ai = 5
for i = 1, tonumber(A[4]) do
	local born, n, kinds, first = tonumber(A[ai]), tonumber(A[ai + 1]), {}, ai + 2
	for j = 1, n do kinds[j] = tonumber(A[first + 2 * j - 2]) end
	ai = first + 2 * n
	local g = load(i, kinds, n)
	g.same = g.born > 0 and g.born == born
	for j = 1, n do g[j].used = tonumber(A[first + 2 * j - 1]) end
	groups[i] = g
end
load_lane()
steady(groups)
tick()
call('ZCARD', KEYS[1])
if charge then charge = call('SET', KEYS[4], 'charged', 'NX', 'PX', 600000) end
for _, g in ipairs(groups) do
	if g.born > 0 then
		for j = 1, g.n do
			local b = g[j]
			refill(g, b)
			-- What was used locally is missing from the share of this process. A
			-- group that was born since has been started from what was left.
			if charge and g.same and b.rate > 0 then b.level = max(b.level - b.used, min(b.level, -b.size)) end
		end
	end
end
beat(A[2])
save_lane(false)
if charge then
	for _, g in ipairs(groups) do
		if g.born > 0 then save(g, true) end
	end
end
return reply('1 - 0 0 0 0 0 0', groups)
