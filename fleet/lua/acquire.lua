-- acquire: everything an attempt needs, or nothing and the wait.
--
-- ARGV: now, id, instance, flags, rest, income, what is held, groups; of each
-- group pace, buckets, their kinds and caps, which of them is output; of each
-- bucket cost, keep, and if hinted limit, depth, level. The flags are plain,
-- touch, hinted, may probe, waited, placed, paid; and the class. The rest is
-- horizon, random, price, purse, in one word for the fast way's sake. What is
-- held is cost and pace of every bucket, as the reservation notes it.

local id, instance = A[2], A[3]
local function flag(i) return string.byte(A[4], i) == 49 end
local touch, hinted, may_probe, waited, placed, paid = flag(2), flag(3), flag(4), flag(5), flag(6), flag(7)
local horizon, random, price, purse_of = match(A[5], '(%S+) (%S+) (%S+) (%S+)')
horizon, random, price = tonumber(horizon), tonumber(random), tonumber(price)
local scoped, income = purse_of == '2', A[6]

local groups, pace, pace_text = {}, {}, {}
ai = 9
for i = 1, tonumber(A[8]) do
	local n, kinds, caps, first, j = tonumber(A[ai + 1]), {}, {}, ai + 4, 0
	pace[i], pace_text[i] = tonumber(A[ai]), A[ai]
	for name, cap in string.gmatch(A[ai + 2], '(%a+):([^ ]+)') do
		j = j + 1
		kinds[j], caps[j] = KINDS[name], cap
	end
	local g = load(i, kinds, n)
	ai = first
	for k = 1, n do
		local b = g[k]
		b.cost, b.cost_text, b.want, b.keep = tonumber(A[ai]), A[ai], caps[k], tonumber(A[ai + 1])
		if hinted then b.known = {tonumber(A[ai + 2]), tonumber(A[ai + 3]), A[ai + 4]} end
		ai = ai + (hinted and 5 or 2)
	end
	groups[i] = g
end
load_lane()
steady(groups)

local function answer(status, reason, wait, g, k, lease)
	return reply(fmt('%d %s %d %d %d %s 0 0', status, reason, wait, g, k, lease), groups)
end

-- A group that is not there was forgotten, or never known: the caller tells
-- what it knows, and a bucket of which nobody knows anything starts at ten
-- seconds of rate, not at a minute.
for i, g in ipairs(groups) do
	if g.born == 0 then
		if not hinted then return answer(2, 'missing', 0, i, 0, '0') end
		g.born, g.new, g.dirty = now, true, true
	end
	refill(g)
	for j = 1, g.n do
		local b = g[j]
		if b.fresh then
			b.cap, b.cap_text = tonumber(b.want), b.want
			if b.known then b.limit, b.depth = b.known[1], b.known[2] > 0 and b.known[2] or DEPTH end
			changed(g, b, false)
			if b.rate > 0 and b.known and b.known[3] ~= '' then b.level = min(b.size, tonumber(b.known[3])) end
		elseif b.want ~= b.cap_text then
			local known = b.rate > 0
			b.cap, b.cap_text, g.new = tonumber(b.want), b.want, true
			changed(g, b, known)
		end
	end
end

tick()
local forget_ripe
if L.state ~= 'closed' or (price > 0 and not paid) then forget_ripe = results() end

-- Whatever is refused, what time has done is kept.
local function refuse(reason, wait, g, k)
	if forget_ripe then forget_ripe() end
	save_lane(touch)
	if touch then beat(instance, KEYS[4]) end
	for _, o in ipairs(groups) do
		if o.new then save(o, touch) end
	end
	return answer(0, reason, wait, g, k, '0')
end

local pausing, by = 0, 0
for i, g in ipairs(groups) do
	if g.paused > now and paused(g) - now > pausing then pausing, by = paused(g) - now, i end
end
if pausing > 0 then return refuse('pause', pausing, by, 0) end

-- The breaker.
local probe = false
if OFF then
	-- everything passes
elseif L.state ~= 'closed' then
	local may = #L.leases < PROBES and (may_probe or now >= L.pend) and
		(L.state == 'half-open' or (EVERY > 0 and now >= L.probe))
	if not may then
		local at = next_probe()
		if at <= now then
			at = now + 1000000
			if L.pend > now then at = min(at, L.pend) end
		end
		return refuse('breaker', at - now, 0, 0)
	end
	probe = true
elseif ramping() and not placed then
	local t, r, pass = now - L.ramp, random, false
	if not waited then
		local f = 0.25 + 0.75 * t / RAMP
		if r < f then pass = true else r = (r - f) / (1 - f) end
	end
	if not pass then
		local x = t / RAMP
		local from = x / 4 + 3 * x * x / 8
		local y = from + r * (0.625 - from)
		local at = min(max(floor((math.sqrt(1 + 24 * y) - 1) / 3 * RAMP), t), RAMP)
		if L.ramp + at > now then return refuse('ramp', L.ramp + at - now, 0, 0) end
	end
end

-- The budget. What the breaker lets out one by one is bounded by that.
local scope, purse, must_pay = groups[1], L, price > 0 and not paid
if must_pay and (probe or waited or placed) then price, income, must_pay = 0, '0', false end
if price > 0 and scoped then purse = scope end
if must_pay and price > BUDGET - purse.spent then
	local at = floor_next(scope)
	if not at then return refuse('budget', -1, 1, 0) end
	if at > now then return refuse('budget', at - now, 1, 0) end
end

-- The limits. Of the first group, whose line it is, there is more to know: how
-- much the attempt takes of it, how long it waits for that, and what is left
-- after it, in seconds of the scarcest bucket.
local longest, beyond, at_group, at_kind = 0, 0, 0, 0
local share, short, spare = 0, 0, math.huge
for i, g in ipairs(groups) do
	for j = 1, g.n do
		local b = g[j]
		local rate, n, out = b.rate, b.cost, b.kind == OUTPUT
		if rate > 0 and (n > 0 or out) then
			local size, keep = b.size, b.keep
			if i == 1 then share = max(share, n / rate) end
			if now < g.wary then keep = max(keep, HEADROOM * b.least) end
			if keep > 0 then keep = min(keep, size / 2) end
			if out then
				local promised, total = g.promised, g.pace + pace[i]
				if pace[i] > 0 then promised, n = promised + n, 0 end
				if total > rate then
					local over = 1 - rate / total
					n = n + promised * over * over
				end
				if n < 1 then n = 1 end
			end
			if n > size - keep then n = size - keep end
			local lack = n + keep - b.level
			if i == 1 then spare = min(spare, -lack / rate) end
			if lack > 1e-6 then
				local wait = ceil((lack - 5e-7) / rate * 1e6)
				if i == 1 then short = max(short, wait) else beyond = max(beyond, wait) end
				if wait > longest then longest, at_group, at_kind = wait, i, b.kind end
			end
		end
	end
end

-- The line. Who is not the first in it is granted what leaves enough for all
-- before it, and never books: one that may not book would never come to its turn.
local place, till, rest = false, 0, 0
if share > 0 then till = tonumber(call('HMGET', scope.key, 'line')[1] or '0') end
if share > 0 and (short > 0 or till > now) then
	place = stand(CLASSES[string.byte(A[4], 8)] .. instance, till)
	if place.ahead and place.sum - spare > 1e-7 then rest = ceil((place.sum - spare) * 1e6) end
end
if rest > 0 or longest > horizon then
	local wait, turn = max(longest, rest), max(short, rest)
	if place and beyond > horizon and beyond > turn then -- it is held by something else: others need not wait for it
		if place.listed then settle_in(place, scope, share, 0) end
	elseif place then
		local due = now + min(wait, FARTHEST)
		place.till = max(place.till, now + CALM, due + GRACE)
		settle_in(place, scope, share, due)
	end
	if longest <= horizon then return refuse('turn', wait, 0, 0) end
	return refuse('limit', wait, at_group, at_kind)
end

-- Granted. From here on everything is written.
local lease, epoch = '0', fmt('%d', L.epoch)
if probe then lease = fmt('%d', L.lease + 1) end
local befores, n = {}, 0 -- what was charged so far
for _, g in ipairs(groups) do
	for j = 1, g.n do
		n = n + 1
		befores[n] = g[j].charged
	end
end
local record = table.concat({NOW, epoch, lease, price, purse_of, income, '0', A[7]}, ' ') .. '|' .. pack(befores, n)
local early = income
if scoped and price > 0 then early = '0' end
early = id .. ' ' .. epoch .. ' ' .. lease .. ' ' .. early
-- NX: should a client send this twice, it is charged once.
if call('HSETNX', KEYS[4], id, record) == 0 then
	return answer(1, 'again', 0, 0, 0, match(call('HGET', KEYS[4], id), '%S+ %S+ (%S+)'))
end
local flies = redis.pcall('ZADD', KEYS[3], 'NX', NOW, early)
if type(flies) == 'table' then -- of another type: then nothing is reserved either
	call('HDEL', KEYS[4], id)
	return flies
end
if probe then
	L.lease = L.lease + 1
	L.leases[#L.leases + 1] = {L.lease, now + LEASE}
	L.probe, L.dirty = now + EVERY, true
end
if must_pay then withdraw(purse, scope, price) end
if place then
	local served = place.tag
	-- Whoever passes those who wait takes what they leave, and is owed the less for
	-- it, but not for longer than four rounds: in a burst that is there for all
	-- one of them could else take on a debt of many seconds.
	local round = share * place.peers / place.weight
	place.tag = min(served + round, max(served, place.v + 4 * round))
	if short > 0 then place.till = max(place.till, now + CALM) end
	settle_in(place, scope, share, 0, served)
end
for i, g in ipairs(groups) do
	for j = 1, g.n do
		local b = g[j]
		local cost = b.cost
		if b.kind == OUTPUT and pace[i] > 0 then
			if cost > 0 then
				g.score = now + ceil(cost / pace[i] * 1e6)
				g.member = id .. ' ' .. b.cost_text .. ' ' .. pace_text[i] .. ' ' .. NOW -- as settle finds it in the reservation
				g.more, g.tokens = pace[i], cost
			end
		elseif cost ~= 0 then
			b.charged = b.charged + cost
			if b.rate > 0 then b.level = b.level - cost end
		end
	end
	save(g, touch)
end
if forget_ripe then forget_ripe() end
save_lane(touch)
if touch then beat(instance, KEYS[4]) end
return answer(1, 'granted', longest, at_group, at_kind, lease)
