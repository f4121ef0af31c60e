-- look: a sign of life, what was used while this process was on its own, and
-- the state of everything.
--
-- ARGV: now, instance, charge, groups; of each group its buckets; of each
-- bucket kind, used, left, rate, ran: see account.go.

local charge, groups = A[3] == '1', {}
ai = 5
for i = 1, tonumber(A[4]) do
	local n, kinds, first = tonumber(A[ai]), {}, ai + 1
	for j = 1, n do kinds[j] = tonumber(A[first + 5 * j - 5]) end
	ai = first + 5 * n
	local g = load(i, kinds, n)
	for j = 1, n do
		local w = first + 5 * j - 5
		local b = g[j]
		b.used, b.left, b.own, b.ran = tonumber(A[w + 1]), tonumber(A[w + 2]), tonumber(A[w + 3]), tonumber(A[w + 4])
	end
	groups[i] = g
end
load_lane()
steady(groups)
tick()
try_sets(groups)
if charge then charge = call('SET', KEYS[4], 'charged', 'NX', 'PX', 600000) end
for _, g in ipairs(groups) do
	if g.born > 0 then
		local age = now - g.born
		refill(g)
		for j = 1, g.n do
			local b = g[j]
			if charge and b.rate > 0 then
				local take = b.used
				-- Born after the share had begun: it has refilled since, as the share has.
				if age < b.ran then take = b.own * age / 1e6 - b.left end
				b.level = min(b.size, max(b.level - take, min(b.level, -b.size)))
			end
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
