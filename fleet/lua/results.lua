-- What results do: the window of twelve steps, probes, and what they earn.
-- acquire needs it while the breaker is not closed, or a retry asks for money.

local ring, sum
local function load_ring()
	ring, sum = {}, {0, 0}
	local n = 0
	for v in string.gmatch(L.ring, '%S+') do
		n = n + 1
		ring[n] = tonumber(v)
		sum[2 - n % 2] = sum[2 - n % 2] + ring[n]
	end
	for i = n + 1, 24 do ring[i] = 0 end
end
local function slot_of(t) return floor(t / floor(WINDOW / 12)) end
local function turn()
	local s = max(slot_of(now), L.slot)
	if s > L.slot then L.dirty = true end
	if s - L.slot >= 12 then
		for i = 1, 24 do ring[i] = 0 end
		sum[1], sum[2], L.slot = 0, 0, s
	end
	while L.slot < s do
		L.slot = L.slot + 1
		local i = 2 * (L.slot % 12) + 1
		sum[1], sum[2] = sum[1] - ring[i], sum[2] - ring[i + 1]
		ring[i], ring[i + 1] = 0, 0
	end
end
local function count(s, good, bad)
	if s <= L.slot - 12 or s > L.slot then return end
	local i = 2 * (s % 12) + 1
	ring[i], ring[i + 1] = ring[i] + good, ring[i + 1] + bad
	sum[1], sum[2] = sum[1] + good, sum[2] + bad
	L.dirty = true
end
local function save_ring()
	if L.dirty then L.ring = table.concat(ring, ' ') end
end
local function deposit(purse, n)
	if n <= 0 or purse.spent == 0 then return end
	purse.spent = purse.spent - min(n, purse.spent)
	purse.dirty = true
end
local function open()
	if L.state == 'closed' or now >= L.pend then L.pend = now + OPEN end
	enter('open')
	L.probe = now + EVERY
end
local function fail()
	count(L.slot, 0, 1)
	local all = sum[1] + sum[2]
	if all >= LEAST and sum[2] / all > RATE then open() end
end
local function good_probe()
	if L.state == 'open' then
		enter('half-open')
		return
	end
	L.good, L.dirty = L.good + 1, true
	if L.good >= PROBES then
		enter('closed')
		for i = 1, 24 do ring[i] = 0 end
		sum[1], sum[2] = 0, 0
		L.ramp = now
	end
end
local function report_probe(lease, result)
	local held = false
	for i, l in ipairs(L.leases) do
		if l[1] == lease then
			table.remove(L.leases, i)
			L.dirty, held = true, true
			break
		end
	end
	if result == 'failure' or result == 'retrying' then
		if L.state == 'half-open' then open() end
	elseif result == 'good' then
		good_probe()
	elseif held and L.state == 'open' then
		L.probe = now -- nothing was learned: the turn passes on
	end
end

-- ripen counts attempts as good that have been in flight for EARLY, whoever
-- sent them, and whether or not their process still lives.
local function ripen()
	local ripe = call('ZRANGEBYSCORE', KEYS[3], '-inf', fmt('%d', now - EARLY), 'WITHSCORES')
	for i = 1, #ripe, 2 do
		local epoch, lease, income = match(ripe[i], '%S+ (%S+) (%S+) (%S+)')
		local start = tonumber(ripe[i + 1])
		L.ok, L.dirty = max(L.ok, start), true
		if tonumber(epoch) == L.epoch and not OFF then
			if lease ~= '0' then
				report_probe(tonumber(lease), 'good')
			elseif L.state == 'closed' then
				count(slot_of(start + EARLY), 1, 0)
			end
		end
		deposit(L, tonumber(income))
	end
	L.ripened = #ripe > 0
end
local function forget_ripe()
	if L.ripened then call('ZREMRANGEBYSCORE', KEYS[3], '-inf', fmt('%d', now - EARLY)) end
end
