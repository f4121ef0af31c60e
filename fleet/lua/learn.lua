-- learn: what the headers of an answer showed, and what it has cost so far.
-- Cuts hold at once. Raises are bounded: a limit at most doubles a second, and
-- levels rise by no more than refills in the time that no raise has used yet,
-- ten seconds at most.
--
-- ARGV: now, id, refused, age, pause, groups; of each group its buckets; of
-- each bucket kind, limit (0 is not shown), remaining, low, high, when (1 is
-- early, 2 late, 0 not known), actual ("-" is not known yet).

local refused, age, pause = A[3] == '1', tonumber(A[4]), tonumber(A[5])
local groups = {}
ai = 7
for i = 1, tonumber(A[6]) do
	local n, kinds, first = tonumber(A[ai]), {}, ai + 1
	for j = 1, n do kinds[j] = tonumber(A[first + (j - 1) * 7]) end
	ai = first + n * 7
	groups[i] = load(i, kinds, n)
	for j = 1, n do
		local w = first + (j - 1) * 7
		groups[i][j].view = {limit = tonumber(A[w + 1]), remaining = tonumber(A[w + 2]), low = tonumber(A[w + 3]),
			high = tonumber(A[w + 4]), when = A[w + 5], actual = A[w + 6]}
	end
end
load_lane()
try_sets(groups)
steady(groups)
tick()

local record, stored = {}, reservation(A[2])
local known = stored and true
local noted = known and match(stored, '^[^|]+')
local befores = known and parse(sub(stored, #noted + 2))
for v in string.gmatch(noted or '', '%S+') do record[#record + 1] = v end
local start = known and tonumber(record[1]) or now

-- arriving is how many seconds of rate may be let go at once of a bucket that
-- holds so many: it does not refill until they have come.
local function arriving(seconds) return max(seconds - TRANSIT / 1e6, seconds / 2, 0.5) end

-- bounds is between what the level must be, by what was shown. That speaks of
-- when the attempt was let in, since when more was charged, or of when the answer
-- was sent, which has seen all of that but what was on its way. While that is not
-- known both hold.
local function bounds(g, b, v, since, flight)
	local off, below = 1, 0
	if b.kind ~= 1 then
		off = min(500, b.size / 20)
		below = off
	end
	local refilled = b.rate * age / 1e6
	local high = v.remaining + off + refilled
	if b.kind == OUTPUT then return min(v.remaining - below + refilled - g.pace * age / 1e6 - since, b.size), high end
	local early = min(v.remaining + b.rate * (age + flight) / 1e6, b.size) - below - since
	if v.when == '1' then return early, early + below + off end
	local late = v.remaining - below + refilled
	if since > 0 then late = late - since * min(1, (age + TRANSIT) / (flight + age)) end
	late = min(late, b.size)
	if v.when == '2' then return late, high end
	return min(early, late), high
end

local at, place = 6, 0
for i, g in ipairs(groups) do
	local window = min(max(now - g.raised, 0), DEPTH * 1000000) / 1e6
	local raised, spent = false, 0
	if g.born == 0 then g.born, g.new, g.dirty = now, true, true end
	refill(g)
	for j = 1, g.n do
		local b = g[j]
		local v = b.view
		local charged = b.charged
		local held, before, pace = 0, charged, 0
		local ours = known and g.born <= start
		at, place = at + 2, place + 1
		if ours then held, pace, before = tonumber(record[at]), tonumber(record[at + 1]), befores[place] end
		if ours and v.actual ~= '-' and b.kind ~= OUTPUT then
			local actual = tonumber(v.actual)
			if b.rate > 0 and not (start < b.seen) then b.level = min(b.size, b.level + held - actual) end
			held = actual
			record[at] = v.actual
		end
		if v.limit > 0 then
			local first = b.limit == 0
			local mirrored = b.cap == 0 or v.limit <= b.cap
			if first or v.limit <= b.limit then
				b.limit = v.limit
			elseif window >= 1 then
				b.limit, raised, spent = min(v.limit, 2 * b.limit), true, window
			end
			if v.high > 0 then
				-- What is on its way while a bucket is full finds no more when it comes.
				local least, most = arriving(v.low), arriving(v.high)
				if first then b.depth = least else b.depth = min(max(b.depth, least), most) end
				b.depth = min(b.depth, 60)
			end
			g.same = false
			rates(b)
			local since = max(0, charged - before)
			if ours and not refused and (b.kind ~= OUTPUT or pace == 0) then since = max(0, since - held) end
			local flight = ours and max(0, now - age - start) or 0
			local low, high = bounds(g, b, v, since, flight)
			local seen = max(b.seen, v.when == '1' and known and b.kind ~= OUTPUT and start or now - age)
			if not mirrored then
				b.level = min(b.level, high)
			elseif first then
				b.level, b.seen = low, seen
			elseif b.level > high + 1e-6 then
				-- A young group has not heard of all that was sent before it was
				-- known whose that is.
				if b.level - high > 0.01 * b.least and now - g.born > WARY then g.wary, g.dirty = max(g.wary, now + WARY), true end
				b.level, b.seen = low, seen
			elseif b.level < low and ours then
				local up = min(low, b.level + b.rate * window)
				if up > b.level then
					spent = max(spent, (up - b.level) / b.rate)
					b.level, b.seen, raised = up, seen, true
				end
			end
			b.level = min(b.level, b.size)
		end
	end
	if i == 1 and pause > 0 then g.paused, g.dirty = max(paused(g), now + min(pause, PAUSE)), true end
	if raised then g.raised, g.dirty = now - (window - spent) * 1e6, true end
end
if known then call('HSET', KEYS[4], A[2], table.concat(record, ' ') .. sub(stored, #noted + 1)) end
for _, g in ipairs(groups) do save(g, g.new) end
save_lane(false)
return reply(fmt('%d - 0 0 0 0 0 0', known and 1 or 0), groups)
