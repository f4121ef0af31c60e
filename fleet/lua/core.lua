-- What all scripts share. A script is this file and one other, with constants
-- written in for their names: CHANNEL and the policy: OFF, RATE, WINDOW, LEAST,
-- OPEN, EVERY, PROBES, LEASE, RAMP, BUDGET, FLOOR, HEADROOM, KEEP.
--
-- KEYS: live, lane, fly, reservations, then group and flow of each group; for
-- acquire, and who leaves, also the line of the first.
-- Every key carries the same hash tag, and every key is declared.
--
-- Numbers are doubles. Whatever is stored is formatted here: left to itself
-- Lua keeps 14 digits, and a time in microseconds has 16. Times are
-- microseconds since 1970 by this server's clock.
--
-- The numbers of a group are stored as doubles, in one string that fast.lua
-- need not parse. Beside it they are written as text, for people: see save.
--
-- Scripts read everything before they write anything, but for the sorted sets
-- of output, so that a key of the wrong type fails the whole of it.
--
-- Servers run one script at a time, so what this costs bounds the fleet: a
-- closure that is not needed, or a number formatted twice, is seen in
-- BenchmarkCPU.

local call, fmt, match, sub = redis.call, string.format, string.match, string.sub
local max, min, floor, ceil = math.max, math.min, math.floor, math.ceil
local struct = rawget(_G, 'struct')

local NAMES = {'requests', 'input', 'output', 'tokens'}
local KINDS = {requests = 1, input = 2, output = 3, tokens = 4}
local OUTPUT = 3
local DEPTH = 10         -- seconds of rate that a bucket holds until headers show more
local EARLY = 5000000    -- an attempt that has been in flight for so long counts as good
local TRANSIT = 250000   -- how long an attempt may have been on its way to where it is counted
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

local function real(x) -- to nine decimals, and never with an exponent: not every Lua reads one
	if x % 1 == 0 then return fmt(x < 9e15 and '%d' or '%.0f', x) end
	local sign = ''
	if x < 0 then sign, x = '-', -x end
	x = x + 5e-10
	return sign .. fmt('%d.%09d', x, x % 1 * 1e9)
end

-- pack and parse write and read n numbers. A server that cannot pack, such as
-- one that is made for tests, keeps them as words.
local function pack(t, n)
	if struct then return struct.pack('<' .. string.rep('d', n), unpack(t, 1, n)) end
	local words = {}
	for i = 1, n do words[i] = real(t[i]) end
	return table.concat(words, ' ')
end
local function parse(s)
	if struct then return {struct.unpack('<' .. string.rep('d', #s / 8), s)} end
	local t, n = {}, 0
	for word in string.gmatch(s, '%S+') do
		n = n + 1
		t[n] = tonumber(word)
	end
	return t
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

-- load reads a group: the buckets that are named by their kind, and behind them
-- those that are not asked for. Tables are made with all that they will hold:
-- growing costs more than all the arithmetic.
--
-- The numbers are time, output per second, output to come and when the next of it
-- ends; then of each bucket level, charge, what is in force, its seconds, what
-- headers show, and up to when an answer has seen it. g.same says that kinds and
-- limits are as they were read.
local function load(i, kinds, n)
	local key = KEYS[3 + 2 * i]
	local v = call('HMGET', key, 'born', 'paused', 'wary', 'raised', 'spent', 'floor', 'kinds', 'packed')
	local g = {false, false, false, false, key = key, flow = KEYS[4 + 2 * i], born = v[1] and tonumber(v[1]) or 0,
		paused = v[2] and tonumber(v[2]) or 0, wary = v[3] and tonumber(v[3]) or 0, raised = v[4] and tonumber(v[4]) or 0,
		spent = v[5] and tonumber(v[5]) or 0, floor = v[6] and tonumber(v[6]) or 0, at = 0, pace = 0, promised = 0, soonest = 0,
		n = n, all = n, ended = false, new = false, dirty = false, member = false, score = false, kinds = v[7], same = v[8] and true}
	local known = {false, false, false, false}
	if v[8] then
		local p, o = parse(v[8]), 4
		g.at, g.pace, g.promised, g.soonest = p[1], p[2], p[3], p[4]
		for name, cap in string.gmatch(v[7], '(%a+):([^ ]+)') do
			local rate = p[o + 3] / 60
			local size = rate * p[o + 4]
			known[KINDS[name]] = {kind = KINDS[name], place = (o + 2) / 6, level = p[o + 1], charged = p[o + 2], least = p[o + 3],
				depth = p[o + 4], limit = p[o + 5], seen = p[o + 6], cap = tonumber(cap), cap_text = cap,
				rate = rate, size = size > 1 and size or 1, cost = 0, want = cap, keep = 0, fresh = false}
			o = o + 6
		end
	end
	for j = 1, n do
		local k = kinds[j]
		local b = known[k]
		known[k] = false
		if not b then
			b = {kind = k, place = 0, level = 0, charged = 0, least = 0, depth = DEPTH, limit = 0, seen = 0, cap = 0, cap_text = '0',
				rate = 0, size = 1, cost = 0, want = '0', keep = 0, fresh = true}
		end
		if b.place ~= j then g.same = false end
		g[j] = b
	end
	for k = 1, 4 do
		if known[k] then
			g.all, g.same = g.all + 1, false
			g[g.all] = known[k]
		end
	end
	return g
end

-- steady makes time stand still where the clock steps back: after a failover
-- it may be another's. Back by more than a minute, it is the clock that holds.
local function steady(groups)
	local last = now
	for _, g in ipairs(groups) do
		if g.n > 0 and g.at > last then last = g.at end
	end
	if last - now <= 60000000 then
		now = last
	else
		for _, g in ipairs(groups) do
			g.at = min(g.at, now)
			for j = 1, g.all do
				local b = g[j]
				if b.seen > now then b.seen, g.same = now, false end
			end
		end
	end
	NOW = fmt('%d', now)
end

-- run lets output be produced up to now, and returns how much was. A flow has
-- an end, by when all that it promised is there: one whose process has died
-- ends like any other.
local function run(g)
	local used = g.pace * (now - g.at) / 1e6
	if now >= g.soonest then
		local gone = call('ZRANGEBYSCORE', g.flow, '-inf', NOW, 'WITHSCORES')
		for i = 1, #gone, 2 do
			local p = tonumber(match(gone[i], '%S+ %S+ (%S+)'))
			used = used - p * (now - max(tonumber(gone[i + 1]), g.at)) / 1e6
			g.pace = max(0, g.pace - p)
		end
		g.ended = true
	end
	g.promised = max(0, g.promised - used)
	return used
end

-- try_sets fails if one of the sorted sets is another's. Who asks for nothing would
-- else not notice, and call well what acquires fail at.
local function try_sets(groups)
	call('ZCARD', KEYS[3])
	for _, g in ipairs(groups) do call('ZCARD', g.flow) end
end

local function refill(g)
	if now > g.at then
		local used = 0
		if g.pace > 0 then used = run(g) end
		for j = 1, g.all do
			local b = g[j]
			if b.rate > 0 then
				local level = b.level + b.rate * (now - g.at) / 1e6
				if b.kind == OUTPUT then level = level - used end
				b.level = level < b.size and level or b.size
			end
		end
		g.at = now
	end
end

-- limits changed: the level stays within them, and a bucket that had none
-- begins with ten seconds of rate.
local function changed(g, b, known)
	g.same = false
	rates(b)
	if b.rate > 0 then
		if known then b.level = min(b.size, b.level) else b.level = min(b.size, DEPTH * b.rate) end
	end
end

local function paused(g) return min(g.paused, now + PAUSE) end

-- kinds_of spells what n buckets of a group are.
local function kinds_of(g, n)
	if g.same and n == g.all then return g.kinds end
	local k = ''
	for j = 1, n do k = k .. (j > 1 and ' ' or '') .. NAMES[g[j].kind] .. ':' .. g[j].cap_text end
	return k
end

-- packed is the numbers of n buckets of a group.
local function packed(g, n)
	local t, o = {g.at, g.pace, g.promised, g.soonest, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 4
	for j = 1, n do
		local b = g[j]
		t[o + 1], t[o + 2], t[o + 3], t[o + 4], t[o + 5], t[o + 6] = b.level, b.charged, b.least, b.depth, b.limit, b.seen
		o = o + 6
	end
	return pack(t, o)
end

-- save writes a group back, and beside the numbers what is for people: levels
-- and limits. Those nobody reads but they, and the fast way does not write them.
local function save(g, touch)
	if g.ended then call('ZREMRANGEBYSCORE', g.flow, '-inf', NOW) end
	if g.ended or g.removed or touch then
		local first = call('ZRANGE', g.flow, '0', '0', 'WITHSCORES')[2]
		if first then g.soonest = tonumber(first) else g.pace, g.promised, g.soonest = 0, 0, 0 end
	end
	if g.member then
		call('ZADD', g.flow, fmt('%d', g.score), g.member)
		if touch or g.pace == 0 then call('PEXPIRE', g.flow, FORGET) end
		if g.pace == 0 or g.score < g.soonest then g.soonest = g.score end
		g.pace, g.promised = g.pace + g.more, g.promised + g.tokens
	end
	local l = fmt('%d %.3f %.3f %d', g.at, g.pace, g.promised, g.soonest)
	for j = 1, g.all do l = l .. fmt(' %.3f %.3f', g[j].level, g[j].charged) end
	local f, n = {'packed', packed(g, g.all), 'levels', l, false, false, false, false}, 4
	if not g.same then
		local m = ''
		for j = 1, g.all do
			local b = g[j]
			m = m .. (j > 1 and ' ' or '') .. real(b.least) .. ' ' .. real(b.depth) .. ' ' .. real(b.limit) .. fmt(' %d', b.seen)
		end
		g.kinds = kinds_of(g, g.all)
		f[5], f[6], f[7], f[8] = 'kinds', g.kinds, 'limits', m
		g.same, n = true, 8
	end
	if g.dirty then
		for _, name in ipairs({'born', 'paused', 'wary', 'raised', 'floor'}) do
			f[n + 1], f[n + 2] = name, fmt('%d', g[name])
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
		lost = v[13] and tonumber(v[13]) or 0, moved = false, dirty = false, live = call('ZCARD', KEYS[1])}
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

-- save_lane writes the lane back. What fast.lua wants of it is in plain, which is
-- empty while the breaker is not closed.
local function save_lane(touch)
	if L.dirty or (touch and L.had) then
		local s = {}
		for i, l in ipairs(L.leases) do s[i] = fmt('%d:%d', l[1], l[2]) end
		call('HSET', KEYS[2], 'state', L.state, 'epoch', fmt('%d', L.epoch), 'until', fmt('%d', L.pend),
			'probe', fmt('%d', L.probe), 'leases', table.concat(s, ' '), 'lease', fmt('%d', L.lease),
			'good', fmt('%d', L.good), 'ramp', fmt('%d', L.ramp), 'slot', fmt('%d', L.slot), 'ring', L.ring,
			'spent', real(L.spent), 'ok', fmt('%d', L.ok), 'lost', fmt('%d', L.lost),
			'plain', L.state == 'closed' and struct and pack({L.epoch, L.spent, L.ramp}, 3) or '')
		call('PEXPIRE', KEYS[2], FORGET)
	end
	if L.moved then -- a wake-up only: who may not publish is not stopped by it
		redis.pcall('PUBLISH', CHANNEL, fmt('%s %s %d', KEYS[2], L.state, L.epoch))
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

-- beat says that a process lives. So that those who come after it need not say
-- anew how long they are kept, fly has a member which never ripens, and the
-- reservations of an hour one that is not settled.
local function beat(instance, reservations)
	if reservations then
		call('HSET', reservations, '-', '')
		call('PEXPIRE', reservations, fmt('%d', 2 * KEEP / 1000))
	end
	call('ZADD', KEYS[3], '+inf', '-')
	call('PEXPIRE', KEYS[3], FORGET)
	call('ZADD', KEYS[1], fmt('%d', now + 15000000), instance)
	call('ZREMRANGEBYSCORE', KEYS[1], '-inf', NOW)
	call('PEXPIRE', KEYS[1], FORGET)
	L.live = call('ZCARD', KEYS[1])
end

-- reservation reads one, unless it has been held for too long.
local function reservation(id)
	local stored = call('HGET', KEYS[4], id)
	return stored and now <= tonumber(match(stored, '%S+')) + KEEP and stored
end

-- reply tells what there is to know, in one line.
local function reply(head, groups)
	local lane
	if L.state == 'closed' and not L.moved then
		lane = fmt(' closed %d 0 0 %d ', L.epoch, ramping() and L.ramp + RAMP - now or 0)
	else
		lane = fmt(' %s %d %d %d %d ', L.state, L.epoch, L.moved and 1 or 0, next_probe() - now,
			ramping() and L.ramp + RAMP - now or 0)
	end
	local r, n = {head, lane, real(BUDGET - L.spent), ' ', L.live, ' ', #groups, false, false, false, false, false, false,
		false, false, false, false}, 7
	for _, g in ipairs(groups) do
		r[n + 1] = fmt(' %d %d %d ', g.born, max(0, paused(g) - now), max(0, min(g.wary, now + WARY) - now))
		r[n + 2], r[n + 3], r[n + 4] = real(BUDGET - g.spent), ' ', g.n
		n = n + 4
		if g.n > 0 then
			r[n + 1], r[n + 2], r[n + 3], r[n + 4] = ' ', kinds_of(g, g.n), struct and ' d' or ' t ', packed(g, g.n)
			n = n + 4
		end
	end
	return table.concat(r, '', 1, n)
end
