-- The way an acquire nearly always goes: nothing is new, nothing has to be
-- paid for, nothing is paused, the breaker is closed, and time goes on. It
-- does what acquire.lua does at a fraction of the cost. Whatever is unusual is
-- left to general(); so is whoever has to wait, or asks while others do: see
-- line.lua.
--
-- It reads and writes the numbers of a group packed, as load in core.lua lists
-- them, and leaves the text beside them as it was.

local unpack = unpack
local function fast()
	local A, K, call, fmt, max = ARGV, KEYS, redis.call, string.format, math.max
	local struct = rawget(_G, 'struct')
	if string.byte(A[4]) ~= 49 or not struct then return end
	local lane, epoch, owed, ramp = call('HGET', K[2], 'plain'), 1, 0, 0
	if lane == '' then return end
	if lane then epoch, owed, ramp = struct.unpack('<ddd', lane) end
	local now, NOW = A[1], A[1]
	if now == '' then
		local t = call('TIME')
		now = t[1] * 1000000 + t[2]
		NOW = fmt('%d', now)
	else
		now = now + 0
	end
	if ramp ~= 0 and now < ramp + max(RAMP, 0) then return end

	local groups, income, ai, n = A[8] + 0, A[6], 9, 0
	local befores, all, forms, heads = {0, 0, 0, 0, 0, 0, 0, 0}, {false, false, false, false}, {false, false, false, false}, {false, false, false, false}
	epoch = epoch == 1 and '1' or fmt('%d', epoch)
	for i = 1, groups do
		local v = call('HMGET', K[3 + 2 * i], 'packed', 'kinds', 'born', 'paused', 'wary', 'spent', 'line')
		if v[2] ~= A[ai + 2] or not v[1] or (v[4] and v[4] + 0 > now) or (v[5] and v[5] + 0 > now) or (v[7] and v[7] + 0 > now) then return end
		local pace, buckets, out = A[ai] + 0, A[ai + 1] + 0, A[ai + 3] + 0
		local form = buckets == 3 and '<dddddddddddddddddddddd' or '<' .. string.rep('d', 4 + 6 * buckets) -- of three: what is usual
		local s, o, used = {struct.unpack(form, v[1])}, 4, 0
		local at, running, promised, soonest = s[1], s[2], s[3], s[4]
		if at > now then return end
		local passed = (now - at) / 1e6
		if running > 0 and passed > 0 then
			used = running * passed
			if now >= soonest then
				s[4] = false -- flows have ended
				local gone = call('ZRANGEBYSCORE', K[4 + 2 * i], '-inf', NOW, 'WITHSCORES')
				for g = 1, #gone, 2 do
					local p = string.match(gone[g], '%S+ %S+ (%S+)') + 0
					used = used - p * (now - max(gone[g + 1] + 0, at)) / 1e6
					running = max(0, running - p)
				end
			end
			promised = max(0, promised - used)
		end
		ai = ai + 4
		for j = 1, buckets do
			local cost, keep, level, charged, rate = A[ai] + 0, A[ai + 1], s[o + 1], s[o + 2], s[o + 3] / 60
			local paced = j == out and pace > 0
			if rate > 0 then
				local size, need = rate * s[o + 4], cost
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
				s[o + 1] = level
			end
			befores[n + 1] = charged
			if not paced then s[o + 2] = charged + cost end
			ai, o, n = ai + 2, o + 6, n + 1
		end
		local budget = BUDGET
		if v[6] and v[6] ~= '0' then budget = fmt('%.17g', BUDGET - v[6]) end
		s[1], s[2], s[3] = now, running, promised
		all[i], forms[i], heads[i] = s, form, ' ' .. v[3] .. ' 0 0 ' .. budget .. ' ' .. buckets
	end

	-- From here on everything is written.
	local live, early = call('ZCARD', K[1]), A[2] .. ' ' .. epoch .. ' 0 ' .. income
	local record = NOW .. ' ' .. epoch .. ' 0 0 1 ' .. income .. ' 0 ' .. A[7] .. '|'
	record = record .. struct.pack(n == 3 and '<ddd' or '<' .. string.rep('d', n), unpack(befores))
	if call('HSETNX', K[4], A[2], record) == 0 then return end
	local flies = redis.pcall('ZADD', K[3], 'NX', NOW, early)
	if type(flies) == 'table' then -- of another type: then nothing is reserved either
		call('HDEL', K[4], A[2])
		return flies
	end
	local told = ''
	ai = 9
	for i = 1, groups do
		local flow, pace, buckets, out, s = K[4 + 2 * i], A[ai], A[ai + 1] + 0, A[ai + 3] + 0, all[i]
		if not s[4] then
			call('ZREMRANGEBYSCORE', flow, '-inf', NOW)
			local soonest = call('ZRANGE', flow, '0', '0', 'WITHSCORES')[2]
			if soonest then s[4] = soonest + 0 else s[2], s[3], s[4] = 0, 0, 0 end
		end
		local cost = out > 0 and A[ai + 2 + 2 * out] or '0'
		if pace ~= '0' and cost ~= '0' then
			local ends = now + math.ceil(cost / pace * 1e6)
			call('ZADD', flow, fmt('%d', ends), A[2] .. ' ' .. cost .. ' ' .. pace .. ' ' .. NOW)
			if s[2] == 0 then call('PEXPIRE', flow, 86400000) end
			if s[2] == 0 or ends < s[4] then s[4] = ends end
			s[2], s[3] = s[2] + pace, s[3] + cost
		end
		local packed = struct.pack(forms[i], unpack(s))
		call('HSET', K[3 + 2 * i], 'packed', packed)
		told = told .. heads[i]
		if buckets > 0 then told = told .. ' ' .. A[ai + 2] .. ' d' .. packed end
		ai = ai + 4 + 2 * buckets
	end
	local budget = BUDGET
	if owed ~= 0 then budget = fmt('%.17g', BUDGET - owed) end
	return '1 granted 0 0 0 0 0 0 closed ' .. epoch .. ' 0 0 0 ' .. budget .. ' ' .. live .. ' ' .. groups .. told
end
local quick = fast()
if quick then return quick end
return general()
