-- The line: who goes first where there is too little for all. It is start-time
-- fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996) over flows: a flow is a
-- process and a class, as "batch|INSTANCE", and asks with one attempt at a time.
-- line.go is the same in Go.
--
-- Of each flow the hash has "tag due share". The tag is how much it has had,
-- over its weight, in seconds of the scarcest bucket; the least is first. One
-- that was told to wait asks again when it is due, and until then others are
-- granted only what leaves enough for all before them. It is not before anybody
-- once it is late by GRACE. v is the tag of who was served last: a flow that
-- was idle begins there, with neither credit nor debt.
--
-- There is a line only while there is contention: the group's field "line"
-- says until when. After that nothing of it counts any more.

local GRACE = 500000    -- how late a flow may be before it is taken for gone
local CALM = 5000000    -- how long after the last wait those who ask are still compared
local FARTHEST = 3600000000 -- how far ahead a wait is believed, should the clock be set back
local FLOWS = 256       -- in a line; who comes then is served as if there were none
local WEIGHTS = {[98] = 1, [105] = 8, [110] = 4} -- by the first byte: batch, interactive, normal
local CLASSES = {[48] = 'normal|', [49] = 'interactive|', [50] = 'batch|'} -- by how a request spells them

local line = KEYS[#KEYS]

-- stand finds the place of a flow: its tag, what those before it take in sum,
-- and how many of its class wait, itself included.
local function stand(name, till)
	local class, stands = string.byte(name), till > now
	local p = {name = name, till = min(till, now + FARTHEST), stands = stands, stored = false, v = 0, tag = 0, sum = 0, ahead = false,
		peers = 1, listed = false, weight = WEIGHTS[class], room = true, gone = {}}
	local all, names, tags, dues, shares, n = call('HGETALL', line), {}, {}, {}, {}, 0
	p.stored = #all > 0
	if not stands then return p end
	for i = 1, #all, 2 do
		if all[i] == 'v' then
			p.v = tonumber(all[i + 1])
		else
			local tag, due, share = match(all[i + 1], '(%S+) (%S+) (%S+)')
			n = n + 1
			names[n], tags[n], dues[n], shares[n] = all[i], tonumber(tag), min(tonumber(due), now + FARTHEST), tonumber(share)
			if all[i] == name then p.tag, p.listed = tags[n], n end
		end
	end
	p.tag = max(p.v, p.tag)
	local kept = n
	for i = 1, n do
		if i == p.listed then
			-- oneself
		elseif dues[i] + GRACE > now then
			local other = string.byte(names[i])
			local first = tags[i] < p.tag
			if tags[i] == p.tag then
				first = WEIGHTS[other] > p.weight or (other == class and names[i] < name)
			end
			if first then p.ahead, p.sum = true, p.sum + shares[i] end
			if other == class then p.peers = p.peers + 1 end
		elseif tags[i] <= p.v then
			p.gone[#p.gone + 1] = names[i]
			kept = kept - 1
		end
	end
	p.room = p.listed or kept < FLOWS
	return p
end

-- settle_in writes a place back: until when it waits, or that it was served. v
-- stays below the tags of all that wait: who passes them does not move it.
local function settle_in(p, g, share, due, served)
	if not p.stands and p.stored then call('DEL', line) end
	if #p.gone > 0 then call('HDEL', line, unpack(p.gone)) end
	if served and not p.ahead then call('HSET', line, 'v', real(served)) end
	if p.room then call('HSET', line, p.name, real(p.tag) .. ' ' .. fmt('%d', due) .. ' ' .. real(share)) end
	call('PEXPIRE', line, fmt('%d', ceil((p.till - now) / 1000) + 60000))
	call('HSET', g.key, 'line', fmt('%d', p.till))
end
