package ekerr

import (
	"slices"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/gateway"
)

// Code names a kind of error. Codes are part of the interface: scripts, logs
// and people search for them.
type Code string

// The codes of the command line. Those of calls are in package evenkeel.
const (
	Failed            Code = "EK-FAILED"
	Usage             Code = "EK-USAGE"
	Interrupted       Code = "EK-INTERRUPTED"
	ConfigFile        Code = "EK-CONFIG-FILE"
	ConfigSyntax      Code = "EK-CONFIG-SYNTAX"
	ConfigKey         Code = "EK-CONFIG-KEY"
	ConfigType        Code = "EK-CONFIG-TYPE"
	ConfigValue       Code = "EK-CONFIG-VALUE"
	ConfigEnv         Code = "EK-CONFIG-ENV"
	ConfigOpen        Code = "EK-CONFIG-OPEN"
	ConfigLoop        Code = "EK-CONFIG-LOOP"
	ConfigUnsupported Code = "EK-CONFIG-UNSUPPORTED"
	Listen            Code = "EK-LISTEN"
	ListenTaken       Code = "EK-LISTEN-TAKEN"
	DrainCut          Code = "EK-DRAIN-CUT"
	Credentials       Code = "EK-CREDENTIALS"
	Unavailable       Code = "EK-UNAVAILABLE"
	Rejected          Code = "EK-REJECTED"
	StreamCut         Code = "EK-STREAM-CUT"
	Input             Code = "EK-INPUT"
	ExecStart         Code = "EK-EXEC-START"
	Unready           Code = "EK-UNREADY"
	ScenarioFile      Code = "EK-SCENARIO-FILE"
	ScenarioSyntax    Code = "EK-SCENARIO-SYNTAX"
	ScenarioKey       Code = "EK-SCENARIO-KEY"
	ScenarioValue     Code = "EK-SCENARIO-VALUE"
	Story             Code = "EK-STORY"
	Record            Code = "EK-RECORD"
	SimUnreachable    Code = "EK-SIM-UNREACHABLE"
	SimRefused        Code = "EK-SIM-REFUSED"
	Assertion         Code = "EK-ASSERTION"
	TokensInput       Code = "EK-TOKENS-INPUT"
	TableFile         Code = "EK-TABLE"
	Ledger            Code = "EK-LEDGER"
	LedgerInUse       Code = "EK-LEDGER-IN-USE"
	LedgerOther       Code = "EK-LEDGER-OTHER"
)

// Entry is what the catalogue knows about a code.
type Entry struct {
	Code  Code   `json:"code"`
	Exit  int    `json:"exit"` // of a command that ends with it
	Means string `json:"means"`
	Do    string `json:"do"`
}

// Lookup finds a code.
func Lookup(code Code) (Entry, bool) {
	i := slices.IndexFunc(catalogue, func(e Entry) bool { return e.Code == code })
	if i < 0 {
		return Entry{}, false
	}
	return catalogue[i], true
}

// Catalogue returns every entry, those of the command line first.
func Catalogue() []Entry { return slices.Clone(catalogue) }

var catalogue = []Entry{
	{
		Failed, 1,
		"Something failed that has no code of its own.",
		"Read the text: it is the cause as it was told to us.",
	},
	{
		Usage, 2,
		"The command line could not be understood: an unknown command or flag, or a missing argument.",
		"Run the command with --help.",
	},
	{
		Interrupted, 130,
		"A signal ended the command before it was done. The exit code is 130 for SIGINT and 143 for SIGTERM.",
		"Nothing, if that was you.",
	},
	{
		ConfigFile, 10,
		"The configuration file cannot be read.",
		"Check the path given by --config or EVENKEEL_CONFIG, and the file's permissions. No file is needed: without one the defaults apply.",
	},
	{
		ConfigSyntax, 10,
		"The configuration file is not YAML, or uses a part of it that is not read here: anchors, aliases, several documents.",
		"Look at the line named; a missing colon, a tab, or an unquoted ${VAR} inside braces are the usual causes.",
	},
	{
		ConfigKey, 10,
		"A key that does not exist. It would have been ignored, and what it was meant to change would not have changed; so it is an error.",
		"Take the suggestion, or see every key with: evenkeel config init",
	},
	{
		ConfigType, 10,
		"A value of another kind than its key takes: a word where a duration is wanted, a list where a value is.",
		"Durations are written 30s or 5m, sizes 512MB, shares 20%, counts 400k.",
	},
	{
		ConfigValue, 10,
		"A value of the right kind that cannot be used: out of range, not one of the choices, or at odds with another value.",
		"The error names the range, the choices, or the other value.",
	},
	{
		ConfigEnv, 10,
		"The file refers to ${VAR} and VAR is not set. An empty value in its place would fail later and be harder to understand.",
		"Set the variable, or give a default: ${VAR:-default}, which may be empty.",
	},
	{
		ConfigOpen, 10,
		"The gateway would hold your API key, listen beyond this machine, and ask no caller who they are: anyone who reaches the port could spend your money.",
		"List the callers under clients, or listen on 127.0.0.1, or leave upstream.api_key empty so that every caller brings their own.",
	},
	{
		ConfigLoop, 10,
		"upstream.url points at the gateway itself: every call would go round until something breaks.",
		"Set upstream.url to https://api.anthropic.com, or to another gateway.",
	},
	{
		ConfigUnsupported, 10,
		"The value is valid, but this version cannot do what it asks for, and ignoring it would be a lie.",
		"Take the key out, or use a version that has it.",
	},
	{
		Listen, 1,
		"The address cannot be listened on.",
		"Check that the address belongs to this machine and that the port needs no privilege (below 1024).",
	},
	{
		ListenTaken, 1,
		"Another process listens on that port already, perhaps another evenkeel.",
		"Choose another port with --listen or --admin (port 0 takes a free one), or stop the other process.",
	},
	{
		DrainCut, 1,
		"drain.grace ran out while calls were still being answered, and they were cut.",
		"Make drain.grace as long as your longest answer, and let the supervisor wait longer than that (terminationGracePeriodSeconds in Kubernetes).",
	},
	{
		Credentials, 4,
		"There is no API key, or the upstream did not accept the one it got.",
		"Set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN).",
	},
	{
		Unavailable, 6,
		"The upstream stayed overloaded, limited or out of reach until the attempts or the time were used up. This is its capacity or your quota, not a fault in the request.",
		"Run it again later; status.claude.com says whether others wait too. A longer --timeout allows more attempts.",
	},
	{
		Rejected, 1,
		"The upstream understood the request and refused it. The same request will be refused again.",
		"Read the upstream's message; it names the field or the reason.",
	},
	{
		StreamCut, 1,
		"The answer broke off before its end. What has arrived is a part of an answer, not an answer. With status 502 nothing has: the upstream was reached and broke off at the last attempt too, as evenkeel-trail tells.",
		"Make the call again; after a 502, once the upstream is calm. Do not use what has arrived.",
	},
	{
		Input, 1,
		"An input cannot be read, or is not what it was taken for: a request that is no valid JSON or has no messages, a text that is not UTF-8. The exit code is 3 if other inputs could be used.",
		"The error names the file, and the line where there are several. Where a file is meant as a text, say so with --text.",
	},
	{
		ExecStart, 127,
		"The command after -- could not be started. The exit code is 127 if it was not found and 126 if it could not be run.",
		"Check its name and that it is on your PATH.",
	},
	{
		Unready, 1,
		"The gateway did not answer its readiness probe with 200: it is not running, still starting, or draining.",
		"Check the address (--admin, EVENKEEL_ADMIN) and the gateway's log.",
	},

	{
		ScenarioFile, 10,
		"The scenario cannot be read.",
		"Check the path given by --scenario, and the file's permissions.",
	},
	{
		ScenarioSyntax, 10,
		"The scenario is not YAML, or uses a part of it that is not read here: anchors, aliases, several documents.",
		"Look at the line named; a missing colon, a tab, or a value that begins with * and is not in quotes are the usual causes.",
	},
	{
		ScenarioKey, 10,
		"The scenario has a key that does not exist, or one twice. It would have been ignored, and the API would not have behaved as the file says.",
		"Take the suggestion, or look the key up in docs/sim.md.",
	},
	{
		ScenarioValue, 10,
		"The scenario has a value that its key does not take: of another kind, out of range, a model that does not exist, or at odds with another value.",
		"The error names what is wanted. Durations are written 30s, counts 400k, models claude-opus-* or opus-4.",
	},
	{
		Story, 2,
		"A line that tells what fails is not understood: an unknown word, a share that no probability can have, times that do not fit. In a scenario the exit code is 10.",
		"Take the suggestion. A line reads like: 10s overload 60% for 20s on claude-opus-*; docs/sim.md has every word.",
	},
	{
		Record, 1,
		"The file of attempts cannot be written or read, or holds a line that is no attempt. While it is served, the simulated API goes on without it.",
		"Check the path and the space left on the disk. A record that broke off judges only what is in it.",
	},
	{
		SimUnreachable, 6,
		"No simulated API answers at that address.",
		"Start one with: evenkeel sim serve. If it listens elsewhere, name it with --sim or EVENKEEL_SIM.",
	},
	{
		SimRefused, 1,
		"Whoever answers at that address did not do what was asked: the simulated API has refused it, or it is something else.",
		"Read the text: it is the answer. The address is that of evenkeel sim serve, not of the gateway.",
	},
	{
		Assertion, 7,
		"The report is complete, and the client did not behave as --assert demands.",
		"The report says what it did, and names attempts; each missed assertion is listed with the value that was found.",
	},
	{
		TokensInput, 1,
		"A file of counts or texts cannot be used, or there is nothing in it to fit.",
		"Counts are one JSON object a line, {\"text\":\"…\",\"tokens\":8}; texts are UTF-8. The error names the line.",
	},
	{
		TableFile, 1,
		"A table of weights cannot be read or written. It is a file of exactly 65,536 bytes; one that exists is not overwritten by itself.",
		"Check the path and its permissions, or say --force if the file may go.",
	},
	{
		Ledger, 1,
		"The ledger of answered probes cannot be read or written, or the file is something else.",
		"Check the path, its permissions and the space on the disk. What is in the ledger stays there; the same command goes on.",
	},
	{
		LedgerInUse, 11,
		"Another process has the ledger open. Two would ask the same questions.",
		"Wait for the other one, or stop it; or name another file with --ledger.",
	},
	{
		LedgerOther, 12,
		"The ledger is of another model or upstream. Mixed counts would fit neither of them.",
		"Name another file with --ledger, or the model and the upstream that it is of.",
	},

	{
		Code(evenkeel.CodeUnreachable), 6,
		"No connection to the upstream, or it broke before an answer began, at the last attempt too.",
		"Check the network, the proxy and upstream.url. evenkeel has tried as often as retry.max_attempts and the deadline allow.",
	},
	{
		Code(evenkeel.CodeTimeout), 6,
		"The upstream took the request and sent no first byte, or nothing of the answer behind it, in time: within timeouts.first_byte and timeouts.idle at every attempt, or until the deadline of the caller or timeouts.total had come.",
		"Try again later. If your answers take long to begin, stream them, or allow more time: timeouts.first_byte, or the caller's own (evenkeel-deadline, the SDK's timeout).",
	},
	{
		Code(evenkeel.CodeBreaker), 6,
		"So many calls to this upstream and model failed within the last minute that new ones are held back; one call every breaker.probe_every tests whether it has recovered.",
		"Wait as long as retry-after says: until the next probe, and never more than 60 s. Calls that may wait longer (evenkeel-max-wait) wait instead of failing.",
	},
	{
		Code(evenkeel.CodeQueueFull), 6,
		"queue.depth calls are held already, by a limit, an open breaker, an upstream that takes no more, an empty retry budget or a pause after a 429, and none of them has less right to wait than this one; or it had to make room for a call of a higher class.",
		"Slow down the callers, or raise queue.depth if memory allows.",
	},
	{
		Code(evenkeel.CodeMaxWait), 6,
		"The call would have had to wait longer than it may.",
		"Raise evenkeel-max-wait or queue.max_wait, or lower the call's priority: batch calls may wait longer.",
	},
	{
		Code(evenkeel.CodeDeadline), 6,
		"The caller's deadline would have passed before an answer could come, so nothing more was sent.",
		"Give the call more time (evenkeel-deadline, the SDK's timeout), or try again when the upstream is calm.",
	},
	{
		Code(evenkeel.CodeLimit), 6,
		"The organisation's limit of requests or tokens per minute is used up, as its answers tell, and the call may not wait until there is enough again. Nothing was sent: it would have been answered 429.",
		"Wait as long as retry-after says, allow a longer wait (evenkeel-max-wait, evenkeel-deadline), or send less. evenkeel-priority decides who goes first.",
	},
	{
		Code(evenkeel.CodeLimitSize), 1,
		"The request has surely more input tokens than the organisation may send in a whole minute, so it can never pass.",
		"Send less at once, or have the limit raised.",
	},
	{
		Code(evenkeel.CodeCrowded), 6,
		"The upstream is overloaded, fewer calls at once have been seen to help, and as many are in flight as it takes.",
		"Wait as long as retry-after says, or send fewer at once.",
	},
	{
		Code(evenkeel.CodePaused), 6,
		"A 429 named a time until which this organisation's calls are not accepted, and the call may not wait that long.",
		"Wait as long as retry-after says, or raise the limit with Anthropic. An answer of evenkeel's own never asks for more than 60 s, even if the API did: clients obey any value, and would freeze. Who is back too early is told again.",
	},
	{
		Code(evenkeel.CodeDraining), 6,
		"This gateway is shutting down and takes no new calls.",
		"Send the call again: another instance, or the next one, answers it.",
	},
	{
		Code(evenkeel.CodeBadHeader), 1,
		"An evenkeel- request header has a value that cannot be read.",
		"evenkeel-priority is interactive, normal or batch; evenkeel-max-wait and evenkeel-deadline are durations such as 20s; evenkeel-tag is [a-z0-9._-]{1,64}.",
	},
	{
		Code(evenkeel.CodeBody), 1,
		"The caller's request body could not be read to its end.",
		"The caller hung up or sent less than it announced.",
	},
	{
		Code(evenkeel.CodeStreamIdle), 1,
		"A stream was silent, without even a ping, for longer than timeouts.idle after its content had begun, and was given up. What has arrived is a part of an answer.",
		"Make the call again. If the upstream is known to be silent for so long, raise timeouts.idle.",
	},
	{
		Code(evenkeel.CodeGaveUp), 6,
		"The answer is the upstream's own, of the last attempt: no further one was allowed, or none would have fit.",
		"Try again later; evenkeel-trail tells what was tried. Raise retry.max_attempts or the deadline to try longer.",
	},

	{
		Code(gateway.CodeTarget), 1,
		"The request asks for something that is no path of the API: a full URL, CONNECT, Upgrade, OPTIONS *.",
		"evenkeel is no general proxy. Set it as ANTHROPIC_BASE_URL, not as HTTP_PROXY.",
	},
	{
		Code(gateway.CodeHost), 1,
		"The Host header names neither localhost nor an address: a web page may be using your browser to reach this server (DNS rebinding).",
		"If the name is yours, list it under hosts.",
	},
	{
		Code(gateway.CodeOrigin), 1,
		"A web page that is not allowed has sent the request.",
		"If the page is yours, list it under origins.",
	},
	{
		Code(gateway.CodeHeaderSize), 1,
		"The request has more header than the API itself would accept.",
		"Look for a header that grows, such as cookies or tags.",
	},
	{
		Code(gateway.CodeClient), 4,
		"Callers are listed under clients, and the request brought no token of one of them.",
		"Send the token as x-api-key or as Authorization: Bearer.",
	},
	{
		Code(gateway.CodePath), 1,
		"The client may not use this path. With your key, messages, count_tokens and models are open to clients; batches and files belong to the whole organisation.",
		"Widen clients[].paths if this client should have it.",
	},
	{
		Code(gateway.CodeBodySlow), 1,
		"The request body stopped coming.",
		"Check the caller's network; the body is read whole before the call queues.",
	},
}
