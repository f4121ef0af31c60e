-- settle: how an attempt ended, once per reservation; or that a probe has
-- brought content; or that a call without an attempt has left.
--
-- ARGV: now, mode, id, succeeded, failure, continues, counted, lost, retry,
-- price, purse, pause, empty, groups; of each group its buckets; of each
-- bucket kind and actual: "-" keeps what is held, "r" and a number is at least
-- what it had time for. With leave the last is the flow that leaves the line,
-- if any.

local mode, id = A[2], A[3]
local succeeded, failure, continues, counted, lost, retry = A[4] == '1', A[5] == '1', A[6] == '1', A[7] == '1', A[8] == '1', A[9] == '1'
local price, scoped, pause, empty = tonumber(A[10]), A[11] == '2', tonumber(A[12]), tonumber(A[13])

local groups = {}
ai = 15
for i = 1, tonumber(A[14]) do
	local n, kinds, want = tonumber(A[ai]), {}, {}
	ai = ai + 1
	for j = 1, n do
		kinds[j], want[j] = tonumber(A[ai]), A[ai + 1]
		ai = ai + 2
	end
	groups[i] = load(i, kinds, n)
	for j = 1, n do groups[i][j].want = want[j] end
end
load_lane()
steady(groups)
tick()

local stored = mode ~= 'leave' and reservation(id)
local function answer(known, paid, told)
	return reply(fmt('%d - 0 0 0 0 %d %d', known, paid and 1 or 0, told and 1 or 0), groups)
end
load_ring()
turn()
ripen()
local function finish()
	save_ring()
	forget_ripe()
	save_lane(false)
end
local scope = groups[1]
local place = mode == 'leave' and A[ai] and call('HMGET', KEYS[#KEYS], A[ai])[1]

if mode == 'leave' then -- of a call that holds nothing but, maybe, a retry that is paid for
	if price > 0 then deposit(scoped and scope or L, price) end
	if failure and not counted and L.state == 'closed' and not ramping() and not OFF then fail() end
	if place then -- its tag stays, so that coming back at once gains nothing
		local tag, _, share = match(place, '(%S+) (%S+) (%S+)')
		call('HSET', KEYS[#KEYS], A[ai], tag .. ' 0 ' .. share)
	end
	if scope.dirty and scope.born > 0 then call('HSET', scope.key, 'spent', real(scope.spent)) end
	finish()
	return answer(1, false, false)
end
if not stored then -- settled before, or never known here
	finish()
	return answer(0, false, false)
end

local record, n = {}, 0
local noted = match(stored, '^[^|]+')
for v in string.gmatch(noted, '%S+') do
	n = n + 1
	record[n] = v
end
local start, epoch, lease = tonumber(record[1]), tonumber(record[2]), tonumber(record[3])
local income, told = tonumber(record[6]), record[7] == '1'
local own = tonumber(record[4]) > 0 and record[5] == '2' and scope or L
local early = now - start >= EARLY
local member = id .. ' ' .. record[2] .. ' ' .. record[3] .. ' ' .. (own == L and record[6] or '0')

if mode == 'content' then
	L.ok, L.dirty = max(L.ok, start), true
	if lease > 0 and not told and not early then
		if epoch == L.epoch and not OFF then report_probe(lease, 'good') end
		record[7] = '1'
		call('HSET', KEYS[4], id, table.concat(record, ' ') .. sub(stored, #noted + 1))
		call('ZREM', KEYS[3], member)
	end
	finish()
	return answer(1, false, false)
end

-- The end. The buckets first.
local at = 6
for i, g in ipairs(groups) do
	local ours = g.born > 0 and g.born <= start
	if ours then refill(g) end
	for j = 1, g.n do
		local b = g[j]
		at = at + 2
		local held_text, pace_text = record[at], record[at + 1]
		local held, pace = tonumber(held_text), tonumber(pace_text)
		if ours then
			local ran = max(0, now - start) / 1e6
			local actual = tonumber(b.want)
			if b.want == '-' then
				actual = held
			elseif not actual then
				actual = max(tonumber(string.sub(b.want, 2)), min(held, pace * ran))
			end
			if b.kind ~= OUTPUT then
				if b.rate > 0 and not (start < b.seen) then b.level = min(b.size, b.level + held - actual) end
			else
				local was, unseen = held, 1
				if pace > 0 and held > 0 and start + ceil(held / pace * 1e6) > now then
					local flow = id .. ' ' .. held_text .. ' ' .. pace_text .. ' ' .. record[1]
					if call('ZSCORE', g.flow, flow) then
						was = pace * ran
						g.pace, g.promised = max(0, g.pace - pace), max(0, g.promised - held + was)
						g.remove, g.removed = flow, true
					end
				end
				if b.seen > start and ran > 0 then unseen = (now - b.seen) / 1e6 / ran end
				if b.rate > 0 then
					if pace > 0 then
						b.level = min(b.size, b.level + (was - actual) * unseen)
					else
						b.level = min(b.size, b.level + was - actual * unseen)
					end
				end
			end
			if empty == b.kind and i == 1 and b.rate > 0 then b.level = min(b.level, 0) end
		end
	end
	if g.born > 0 and i == 1 and (pause > 0 or empty > 0) then
		g.wary, g.dirty = max(g.wary, now + WARY), true
		if pause > 0 then g.paused = max(paused(g), now + min(pause, PAUSE)) end
	end
end

-- Then what it was worth, and what the next try costs.
local deposited = early and income > 0 and own == L
if succeeded and not deposited then deposit(own, income) end
if failure and deposited then
	L.spent, L.dirty = L.spent + min(income, BUDGET - L.spent), true
end
local paid, now_counted = false, false
if retry then
	paid = withdraw(scoped and scope or L, scope, price)
	now_counted = not paid and not counted and failure and now - L.ok > 10000000
end

-- Then the breaker. A call is one failure at most, and a connection that dies
-- under many streams is one, too.
local result = 'failure'
if succeeded then
	L.ok, L.dirty = max(L.ok, start), true
	result = 'good'
elseif not failure then
	result = 'ignored'
elseif (continues and not now_counted) or counted then
	result = 'retrying'
elseif lost then
	if now - L.lost < 100000 then result = 'ignored' else L.lost, L.dirty = now, true end
end
if epoch == L.epoch and not OFF then
	if lease > 0 then
		if not told and not early then report_probe(lease, result) end
	elseif L.state == 'closed' then
		if result == 'good' then
			if not early then count(L.slot, 1, 0) end
		else
			if early then count(slot_of(start + EARLY), -1, 0) end
			if result == 'failure' then fail() end
		end
	end
end

call('HDEL', KEYS[4], id)
if not early then call('ZREM', KEYS[3], member) end
for _, g in ipairs(groups) do
	if g.remove then call('ZREM', g.flow, g.remove) end
	if g.born > 0 then save(g, false) end
end
finish()
return answer(1, paid, now_counted)
