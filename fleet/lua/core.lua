-- What all scripts share. A script is a line of constants, this file, and one
-- other. The constants are CHANNEL and the policy: OFF, RATE, WINDOW, LEAST,
-- OPEN, EVERY, PROBES, LEASE, RAMP, BUDGET, FLOOR, HEADROOM, KEEP_MS.
--
-- KEYS: live, lane, fly, reservation, then group and flow of each group; for
-- acquire, and who leaves, also the line of the first.
-- Every key carries the same hash tag, and every key is declared.
--
-- Numbers are doubles. Whatever is stored is formatted here: left to itself
-- Lua keeps 14 digits, and a time in microseconds has 16. Times are
-- microseconds since 1970 by this server's clock.
--
-- Scripts read everything before they write anything, so that a key of the
-- wrong type fails the whole of it and leaves nothing half done.
--
-- Servers run one script at a time, so what this costs bounds the fleet: a
-- closure that is not needed, or a number formatted twice, is seen in
-- BenchmarkCPU.

local call, fmt, match = redis.call, string.format, string.match
local max, min, floor, ceil = math.max, math.min, math.floor, math.ceil

local NAMES = {'requests', 'input', 'output', 'tokens'}
local OUTPUT = 3
local DEPTH = 10         -- seconds of rate that a bucket holds until headers show more
local EARLY = 5000000    -- an attempt that has been in flight for so long counts as good
local WARY = 60000000    -- how long others are reckoned with
local PAUSE = 3600000000 -- the longest pause one answer can ask of all
local FORGET = 86400000  -- ms; state that nobody has used for so long is forgotten

local A, ai = ARGV, 1
local now, NOW = A[1], nil
if now == '' then
	local t = call('TIME')
	now = t[1] * 1000000 + t[2]
else
	now = tonumber(now)
end

local function real(x) -- all 17 digits, and never an exponent: not every Lua reads one
	if x > -1e-4 and x < 1e-4 then
		if x == 0 then return '0' end
		return fmt('%.20f', x)
	end
	return fmt('%.17g', x)
end

-- Buckets ------------------------------------------------------------------

-- rates works out what follows from the limits.
local function rates(b)
	local m = b.limit
	if b.cap > 0 and (m == 0 or b.cap < m) then m = b.cap end
	b.least, b.rate = m, m / 60
	local size = b.rate * b.depth
	b.size = size > 1 and size or 1
end

-- load reads a group and those of its buckets that are named by their kind.
-- Tables are made with all that they will hold: growing costs more than all
-- the arithmetic.
local function load(i, kinds, n)
	local key = KEYS[3 + 2 * i]
	local v = call('HMGET', key, 'born', 'paused', 'wary', 'raised', 'spent', 'floor', 'flow', 'requests', 'input', 'output', 'tokens')
	local g = {false, false, false, false, key = key, flow = KEYS[4 + 2 * i], born = v[1] and tonumber(v[1]) or 0,
		paused = v[2] and tonumber(v[2]) or 0, wary = v[3] and tonumber(v[3]) or 0, raised = v[4] and tonumber(v[4]) or 0,
		spent = v[5] and tonumber(v[5]) or 0, floor = v[6] and tonumber(v[6]) or 0, pace = 0, promised = 0, n = n, ended = false,
		new = false, dirty = false, member = false, score = false}
	if v[7] then
		local p, m = match(v[7], '(%S+) (%S+)')
		g.pace, g.promised = tonumber(p), tonumber(m)
	end
	for j = 1, n do
		local k = kinds[j]
		local b = {kind = k, level = 0, at = 0, charged = '0', limit = 0, cap = 0, depth = DEPTH, seen = 0, cold = false,
			text = false, rate = 0, size = 1, least = 0, cost = 0, want = 0, keep = 0}
		if v[7 + k] then
			local l, a, c, cold = match(v[7 + k], '(%S+) (%S+) (%S+) (.+)')
			b.level, b.at, b.charged, b.cold = tonumber(l), tonumber(a), c, cold
			local m, o, d, s = match(cold, '(%S+) (%S+) (%S+) (%S+)')
			b.limit, b.cap, b.depth, b.seen = tonumber(m), tonumber(o), tonumber(d), tonumber(s)
			rates(b)
		end
		g[j] = b
	end
	return g
end

-- steady makes time stand still where the clock steps back: after a failover
-- it may be another's. Back by more than a minute, it is the clock that holds.
local function steady(groups)
	local last = now
	for _, g in ipairs(groups) do
		for j = 1, g.n do
			if g[j].at > last then last = g[j].at end
		end
	end
	if last - now <= 60000000 then
		now = last
	else
		for _, g in ipairs(groups) do
			for j = 1, g.n do
				local b = g[j]
				b.at = min(b.at, now)
				if b.seen > now then b.seen, b.cold = now, nil end
			end
		end
	end
	NOW = fmt('%.0f', now)
end

-- run lets output be produced up to now, and returns how much was. A flow has
-- an end, by when all that it promised is there: one whose process has died
-- ends like any other.
local function run(g, at)
	local used = g.pace * (now - at) / 1e6
	local gone = call('ZRANGEBYSCORE', g.flow, '-inf', NOW, 'WITHSCORES')
	for i = 1, #gone, 2 do
		local p = tonumber(match(gone[i], '%S+ %S+ (%S+)'))
		used = used - p * (now - max(tonumber(gone[i + 1]), at)) / 1e6
		g.pace = max(0, g.pace - p)
		g.ended = true
	end
	g.promised = max(0, g.promised - used)
	return used
end

local function refill(g, b)
	local at = b.at
	if now > at then
		local used = 0
		if b.kind == OUTPUT and g.pace > 0 then used = run(g, at) end
		if b.rate > 0 then
			local level = b.level + b.rate * (now - at) / 1e6 - used
			b.level = level < b.size and level or b.size
		end
	end
	b.at = now
end

-- limits changed: the level stays within them, and a bucket that had none
-- begins with ten seconds of rate.
local function changed(b, known)
	b.cold = nil
	rates(b)
	if b.rate > 0 then
		if known then b.level = min(b.size, b.level) else b.level = min(b.size, DEPTH * b.rate) end
	end
end

local function paused(g) return min(g.paused, now + PAUSE) end

-- text is a bucket as it is stored, and as it is told.
local function text(b)
	if not b.cold then b.cold = fmt('%s %s %s %.0f', real(b.limit), real(b.cap), real(b.depth), b.seen) end
	b.text = real(b.level) .. ' ' .. (b.at == now and NOW or fmt('%.0f', b.at)) .. ' ' .. b.charged .. ' ' .. b.cold
end

-- save writes a group back.
local function save(g, touch)
	if g.ended then call('ZREMRANGEBYSCORE', g.flow, '-inf', NOW) end
	if (g.ended or g.removed or touch) and call('ZCARD', g.flow) == 0 then g.pace, g.promised = 0, 0 end
	if g.member then
		call('ZADD', g.flow, g.score, g.member)
		if touch or g.pace == 0 then call('PEXPIRE', g.flow, FORGET) end
		g.pace, g.promised = g.pace + g.more, g.promised + g.tokens
	end
	local f, n = {'flow', real(g.pace) .. ' ' .. real(g.promised), false, false, false, false, false, false}, 2
	for j = 1, g.n do
		local b = g[j]
		text(b)
		f[n + 1], f[n + 2] = NAMES[b.kind], b.text
		n = n + 2
	end
	if g.dirty then
		for _, k in ipairs({'born', 'paused', 'wary', 'raised', 'floor'}) do
			f[n + 1], f[n + 2] = k, fmt('%.0f', g[k])
			n = n + 2
		end
		f[n + 1], f[n + 2] = 'spent', real(g.spent)
		n = n + 2
	end
	call('HSET', g.key, unpack(f, 1, n))
	if touch or g.new then call('PEXPIRE', g.key, FORGET) end
end

-- The lane -------------------------------------------------------------------

local L
local function load_lane()
	local v = call('HMGET', KEYS[2], 'state', 'epoch', 'ramp', 'spent', 'until', 'probe', 'leases', 'lease', 'good', 'slot',
		'ring', 'ok', 'lost')
	local leases = {}
	if v[7] and v[7] ~= '' then
		for id, e in string.gmatch(v[7], '(%d+):(%d+)') do leases[#leases + 1] = {tonumber(id), tonumber(e)} end
	end
	L = {had = v[1], state = v[1] or 'closed', epoch = v[2] and tonumber(v[2]) or 1, ramp = v[3] and tonumber(v[3]) or 0,
		spent = v[4] and tonumber(v[4]) or 0, pend = v[5] and tonumber(v[5]) or 0, probe = v[6] and tonumber(v[6]) or 0,
		leases = leases, lease = v[8] and tonumber(v[8]) or 0, good = v[9] and tonumber(v[9]) or 0,
		slot = v[10] and tonumber(v[10]) or 0, ring = v[11] or '', ok = v[12] and tonumber(v[12]) or 0,
		lost = v[13] and tonumber(v[13]) or 0, moved = false, dirty = false}
end

local function enter(state)
	L.state, L.epoch, L.leases, L.good, L.moved, L.dirty = state, L.epoch + 1, {}, 0, true, true
end

-- tick does what time alone does. Times are bounded by what they can be at
-- most, so that a clock that was set back does not shut anything for longer.
local function tick()
	if L.state == 'closed' then
		if L.ramp > now then L.ramp, L.dirty = now, true end
		return
	end
	if L.pend > now + OPEN then L.pend, L.dirty = now + OPEN, true end
	if L.probe > now + max(EVERY, 0) then L.probe, L.dirty = now + max(EVERY, 0), true end
	if L.state == 'open' and now >= L.pend then enter('half-open') end
	local kept = {}
	for _, l in ipairs(L.leases) do
		if l[2] > now + LEASE then l[2], L.dirty = now + LEASE, true end
		if now < l[2] then kept[#kept + 1] = l else L.dirty = true end
	end
	L.leases = kept
end

local function ramping() return L.ramp > 0 and now - L.ramp < RAMP end

local function next_probe()
	if L.state == 'closed' then return now end
	local free = now
	if #L.leases >= PROBES then
		free = L.leases[1][2]
		for _, l in ipairs(L.leases) do free = min(free, l[2]) end
	end
	local at
	if L.state == 'half-open' then
		at = min(free, now + 1000000)
	elseif EVERY < 0 then
		at = L.pend
	else
		-- Nothing tells when a place is given back without a transition.
		at = min(max(L.probe, min(free, now + 1000000)), L.pend)
	end
	return max(at, now)
end

local function save_lane(touch)
	if L.dirty or (touch and L.had) then
		local s = {}
		for i, l in ipairs(L.leases) do s[i] = fmt('%.0f:%.0f', l[1], l[2]) end
		call('HSET', KEYS[2], 'state', L.state, 'epoch', fmt('%.0f', L.epoch), 'until', fmt('%.0f', L.pend),
			'probe', fmt('%.0f', L.probe), 'leases', table.concat(s, ' '), 'lease', fmt('%.0f', L.lease),
			'good', fmt('%.0f', L.good), 'ramp', fmt('%.0f', L.ramp), 'slot', fmt('%.0f', L.slot), 'ring', L.ring,
			'spent', real(L.spent), 'ok', fmt('%.0f', L.ok), 'lost', fmt('%.0f', L.lost))
		call('PEXPIRE', KEYS[2], FORGET)
	end
	if L.moved then -- a wake-up only: who may not publish is not stopped by it
		redis.pcall('PUBLISH', CHANNEL, fmt('%s %s %.0f', KEYS[2], L.state, L.epoch))
	end
end

-- The budget.

local function floor_next(g)
	if FLOOR < 0 then return nil end
	local at = min(g.floor, now) + FLOOR
	if g.floor > 0 and at > now then return at end
	return now
end
local function withdraw(purse, g, price)
	if price <= 0 then return true end
	local left = BUDGET - purse.spent
	if price > left then
		local at = floor_next(g)
		if not at or at > now then return false end
	end
	purse.spent = purse.spent + min(price, left)
	g.floor, g.dirty, purse.dirty = now, true, true
	return true
end

local function beat(instance)
	call('ZADD', KEYS[1], fmt('%.0f', now + 15000000), instance)
	call('ZREMRANGEBYSCORE', KEYS[1], '-inf', NOW)
	call('PEXPIRE', KEYS[1], FORGET)
end

-- reply tells what there is to know, in one line.
local function reply(head, groups)
	local lane
	if L.state == 'closed' and not L.moved then
		lane = fmt(' closed %.0f 0 0 %.0f ', L.epoch, ramping() and L.ramp + RAMP - now or 0)
	else
		lane = fmt(' %s %.0f %d %.0f %.0f ', L.state, L.epoch, L.moved and 1 or 0, next_probe() - now,
			ramping() and L.ramp + RAMP - now or 0)
	end
	local r, n = {head, lane, real(BUDGET - L.spent), ' ', call('ZCARD', KEYS[1]), ' ', #groups, false, false, false, false, false, false,
		false, false, false, false, false, false, false, false, false, false, false, false, false, false, false, false}, 7
	for _, g in ipairs(groups) do
		r[n + 1] = fmt(' %.0f %.0f %.0f ', g.born, max(0, paused(g) - now), max(0, min(g.wary, now + WARY) - now))
		r[n + 2] = real(BUDGET - g.spent)
		r[n + 3] = ' '
		r[n + 4] = g.n
		n = n + 4
		for j = 1, g.n do
			local b = g[j]
			if not b.text then text(b) end
			r[n + 1], r[n + 2], r[n + 3], r[n + 4] = ' ', b.kind, ' ', b.text
			n = n + 4
		end
	end
	return table.concat(r, '', 1, n)
end
