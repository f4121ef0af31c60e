-- The way an acquire nearly always goes: nothing is new, nothing has to be
-- paid for, nothing is paused, the breaker is closed, and time goes on. It
-- does what acquire.lua does at a fraction of the cost. Whatever is unusual is
-- left to general(); so is whoever has to wait, or asks while others do: see
-- line.lua.

local function fast()
	local LEVELS = '^([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ?([^ ]*) ?([^ ]*) ?([^ ]*) ?([^ ]*) ?([^ ]*) ?([^ ]*) ?([^ ]*) ?([^ ]*)'
	local LIMITS = '^([^ ]*) ?([^ ]*) ?[^ ]* ?[^ ]* ?([^ ]*) ?([^ ]*) ?[^ ]* ?[^ ]* ?([^ ]*) ?([^ ]*) ?[^ ]* ?[^ ]* ?([^ ]*) ?([^ ]*)'
	local A, K, call, match, fmt, max = ARGV, KEYS, redis.call, string.match, string.format, math.max
	if A[7] ~= '0' or string.sub(A[4], 1, 2) ~= '00' then return end
	local lane = call('HMGET', K[2], 'state', 'ramp', 'epoch', 'spent')
	if lane[1] and lane[1] ~= 'closed' then return end
	local now, NOW = A[1], A[1]
	if now == '' then
		local t = call('TIME')
		now = t[1] * 1000000 + t[2]
		NOW = fmt('%d', now)
	else
		now = now + 0
	end
	if lane[2] and lane[2] ~= '0' and now < lane[2] + max(RAMP, 0) then return end

	local groups, epoch, income, ai, x = A[10] + 0, lane[3] or '1', A[9], 11, 0
	local record = NOW .. ' ' .. epoch .. ' 0 0 ' .. A[8] .. ' ' .. income .. ' 0'
	-- Of each group how its reply begins, its output, whether flows may have
	-- ended, when the next does, the levels after this, the kinds if there are any, the limits.
	local X = {0, 0, 0, 0, 0, 0, 0, 0}
	for i = 1, groups do
		local v = call('HMGET', K[3 + 2 * i], 'kinds', 'born', 'paused', 'wary', 'spent', 'line', 'levels', 'limits')
		if v[1] ~= A[ai + 2] or (v[3] and v[3] + 0 > now) or (v[4] and v[4] + 0 > now) or (v[6] and v[6] + 0 > now) then return end
		local pace, buckets, out = A[ai] + 0, A[ai + 1] + 0, A[ai + 3] + 0
		local has, may = {match(v[7], LEVELS)}, {match(v[8], LIMITS)}
		local at, running, promised, soonest, ended, used, levels = has[1] + 0, has[2] + 0, has[3] + 0, has[4] + 0, false, 0, ''
		if at > now then return end
		local passed = (now - at) / 1e6
		if running > 0 and passed > 0 then
			used = running * passed
			if now >= soonest then
				ended = true
				local gone = call('ZRANGEBYSCORE', K[4 + 2 * i], '-inf', NOW, 'WITHSCORES')
				for g = 1, #gone, 2 do
					local p = match(gone[g], '%S+ %S+ (%S+)') + 0
					used = used - p * (now - max(gone[g + 1] + 0, at)) / 1e6
					running = max(0, running - p)
				end
			end
			promised = max(0, promised - used)
		end
		ai = ai + 4
		for j = 1, buckets do
			local cost, keep, level, charged, rate = A[ai] + 0, A[ai + 1], has[3 + 2 * j] + 0, has[4 + 2 * j], may[2 * j - 1] / 60
			local paced = j == out and pace > 0
			record = record .. ' ' .. A[ai] .. ' ' .. charged .. (paced and ' ' .. A[ai - 2 * j - 2] or ' 0')
			if rate > 0 then
				local size, need = rate * may[2 * j], cost
				if size < 1 then size = 1 end
				level = level + rate * passed
				if j == out then
					level = level - used
					local more, total = promised, running + pace
					if pace > 0 then more, need = more + need, 0 end
					if total > rate then
						local over = 1 - rate / total
						need = need + more * over * over
					end
					if need < 1 then need = 1 end
				end
				if level > size then level = size end
				if need > 0 then
					local rest = 0
					if keep ~= '0' then rest = math.min(keep + 0, size / 2) end
					if need > size - rest then need = size - rest end
					if need + rest - level > 1e-6 then return end
				end
				if not paced then level = level - cost end
			end
			if level < 0 then return end -- a debt is written another way
			level = level + 5e-10 -- to nine decimals, as real() does
			if paced or cost == 0 then
				levels = levels .. fmt(' %d.%09d ', level, level % 1 * 1e9) .. charged
			else
				charged = charged + cost + 5e-10
				levels = levels .. fmt(' %d.%09d %d.%09d', level, level % 1 * 1e9, charged, charged % 1 * 1e9)
			end
			ai = ai + 2
		end
		local budget = BUDGET
		if v[5] and v[5] ~= '0' then budget = fmt('%.17g', BUDGET - v[5]) end
		X[x + 1], X[x + 2], X[x + 3], X[x + 4] = ' ' .. v[2] .. ' 0 0 ' .. budget .. ' ' .. buckets, running, promised, ended
		X[x + 5], X[x + 6], X[x + 7], X[x + 8] = soonest, levels, buckets > 0 and v[1], v[8]
		x = x + 8
	end

	-- From here on everything is written.
	local live, early = call('ZCARD', K[1]), A[2] .. ' ' .. epoch .. ' 0 ' .. income
	local took_off = call('ZADD', K[3], 'NX', NOW, early) == 1
	if not call('SET', K[4], record, 'NX', 'PX', KEEP_MS) then
		if took_off then call('ZREM', K[3], early) end
		return
	end
	local told = ''
	ai, x = 11, 0
	for i = 1, groups do
		local flow, out, running, promised, soonest = K[4 + 2 * i], A[ai + 3] + 0, X[x + 2], X[x + 3], X[x + 5]
		if X[x + 4] then
			call('ZREMRANGEBYSCORE', flow, '-inf', NOW)
			soonest = call('ZRANGE', flow, '0', '0', 'WITHSCORES')[2]
			if soonest then soonest = soonest + 0 else running, promised, soonest = 0, 0, 0 end
		end
		local pace, cost = A[ai], out > 0 and A[ai + 2 + 2 * out] or '0'
		if pace ~= '0' and cost ~= '0' then
			local ends = now + math.ceil(cost / pace * 1e6)
			call('ZADD', flow, fmt('%d', ends), A[2] .. ' ' .. cost .. ' ' .. pace .. ' ' .. NOW)
			if running == 0 then call('PEXPIRE', flow, 86400000) end
			if running == 0 or ends < soonest then soonest = ends end
			running, promised = running + pace, promised + cost
		end
		running, promised = running + 5e-10, promised + 5e-10
		local levels = fmt('%s %d.%09d %d.%09d %d', NOW, running, running % 1 * 1e9, promised, promised % 1 * 1e9, soonest) .. X[x + 6]
		call('HSET', K[3 + 2 * i], 'levels', levels)
		told = told .. X[x + 1]
		if X[x + 7] then told = told .. ' ' .. X[x + 7] .. ' ' .. levels .. ' ' .. X[x + 8] end
		ai, x = ai + 4 + 2 * A[ai + 1], x + 8
	end
	local budget = BUDGET
	if lane[4] and lane[4] ~= '0' then budget = fmt('%.17g', BUDGET - lane[4]) end
	return '1 granted 0 0 0 0 0 0 closed ' .. epoch .. ' 0 0 0 ' .. budget .. ' ' .. live .. ' ' .. groups .. told
end
local quick = fast()
if quick then return quick end
return general()
