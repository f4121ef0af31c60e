package tokens

import (
	"hash/maphash"
	"math/bits"
)

// What a field of a body counts as. The rules go by keys, never by the type of
// the block around them, since a type may stand after what it is the type of:
//
//	system, messages   strings under text, content, title, context, description, name and source are
//	                   texts; thinking is thinking; input is JSON and counts as it stands; data is an
//	                   image, a PDF or a text, as its first bytes say. Ids, types, urls, signatures,
//	                   encrypted content, citations and cache_control count nothing. Strings under other
//	                   keys count as text, and mark the body [Unknown]
//	tools              the JSON of each definition, with its name, description, schema and examples
//	output_format,     the JSON of the schema; of output_config only its format
//	output_config
//	tool_choice        whether a tool must be called: it decides on the hidden prompt
//	mcp_servers,       nothing, but they mark the body
//	container, context_management
//	all others         nothing

// use is what a value counts as.
type use uint8

const (
	useSkip    use = iota // nothing
	useText               // its strings are texts
	useUnknown            // the same, and it is not known what they are
	useThink              // thinking
	useRaw                // JSON, as it stands
	useSource             // where content comes from: an object, or a text
	useData               // what is encoded
	useCache              // cache_control: an object whose ttl matters
	useType               // a word: the type of a block, a source, a tool or a choice
	useRole               // a word: who speaks
	useModel              // a word: the model
	useTTL                // a word: how long the cache lasts
	useTool               // the definition of a tool
)

// section is a key of the outermost object.
type section uint8

const (
	inOther section = iota
	inModel
	inSystem
	inMessages
	inTools
	inChoice
	inConfig
	inServers
	inFormat

	sections = iota
)

// keyUse tells what the value of a key counts as.
func (s *Scanner) keyUse(key []byte) use {
	if s.top()&isCache != 0 {
		if string(key) == "ttl" {
			return useTTL
		}
		return useSkip
	}
	if s.depth == 1 {
		return s.beginSection(key)
	}
	switch s.section {
	case inSystem, inMessages:
		return s.contentUse(key)
	case inTools:
		return s.toolUse(key)
	case inChoice:
		if s.depth == 2 && string(key) == "type" {
			return useType
		}
	case inConfig:
		if s.depth == 2 && string(key) == "format" {
			s.marks |= Structured
			return useRaw
		}
	}
	return useSkip
}

// beginSection takes a key of the outermost object.
func (s *Scanner) beginSection(key []byte) use {
	s.section = inOther
	s.text.hash.Reset()
	switch string(key) {
	case "model":
		s.section, s.nfound = inModel, 0
		return useModel
	case "system":
		s.section = inSystem
		return useText
	case "messages":
		s.section = inMessages
		return useText
	case "tools":
		s.section = inTools
		return useTool
	case "tool_choice":
		s.section, s.forced = inChoice, false
		return useText // an object; a string says nothing
	case "output_config":
		s.section = inConfig
		return useText
	case "output_format":
		s.section = inFormat
		return useRaw
	case "mcp_servers":
		s.section = inServers
		return useText
	case "container":
		s.marks |= Server
	case "context_management":
		s.marks |= Edited
	case "cache_control":
		return useCache
	}
	return useSkip
}

// endSection ends the value of a key of the outermost object.
func (s *Scanner) endSection() {
	// Messages have borders of their own, within.
	if s.section == inSystem || s.section == inTools || s.section == inFormat || s.section == inConfig {
		s.keyed[s.section] = s.text.hash.Sum64()
	}
	s.section = inOther
}

// contentUse tells what a field of system or messages counts as.
func (s *Scanner) contentUse(key []byte) use {
	switch string(key) {
	case "text", "content", "title", "context", "description", "name":
		return useText
	case "source":
		return useSource
	case "thinking":
		return useThink
	case "input":
		return useRaw
	case "type":
		return useType
	case "role":
		if s.section == inMessages && s.depth == 3 {
			return useRole
		}
		return useSkip
	case "data":
		if s.top()&isSource != 0 {
			return useData
		}
		s.marks |= Thinking // redacted_thinking
		return useSkip
	case "cache_control":
		return useCache
	case "signature":
		s.marks |= Thinking
		return useSkip
	case "encrypted_content":
		s.marks |= Server
		return useSkip
	case "id", "tool_use_id", "media_type", "url", "file_id", "citations", "is_error", "caller", "encrypted_index", "page_age":
		return useSkip
	}
	return useUnknown
}

// toolUse tells what a field of a definition counts as, and writes its key.
func (s *Scanner) toolUse(key []byte) use {
	if !s.inTool || s.depth != 3 {
		return useSkip
	}
	switch string(key) {
	case "type":
		return useType
	case "cache_control":
		return useCache
	case "strict", "defer_loading", "eager_input_streaming", "allowed_callers", "max_uses", "allowed_domains",
		"blocked_domains", "user_location", "citations", "max_content_tokens":
		return useSkip
	}
	if s.fields > 0 {
		s.text.put(s, ',')
	}
	s.fields++
	s.text.put(s, '"')
	s.text.write(s, key)
	s.text.put(s, '"')
	s.text.put(s, ':')
	return useRaw
}

// elementUse tells what an element of an array counts as.
func (s *Scanner) elementUse() use {
	switch s.section {
	case inSystem, inMessages:
		return useText
	case inTools:
		if s.depth == 2 {
			return useTool
		}
	case inServers:
		s.marks |= Server
	}
	return useSkip
}

// opened is told that a container was opened.
func (s *Scanner) opened(object bool) {
	if !object || s.depth != 3 {
		return
	}
	switch s.section {
	case inMessages:
		s.user, s.result = false, false
	case inTools:
		s.inTool, s.fields = true, 0
		s.now.tools++
		s.text.begin(kindRaw)
		s.text.put(s, '{')
	}
}

// closing is told that a container is about to be closed.
func (s *Scanner) closing(object bool) {
	if !object || s.depth != 3 {
		return
	}
	switch s.section {
	case inMessages:
		s.endMessage()
	case inTools:
		s.text.put(s, '}')
		s.text.end(s)
		s.inTool = false
	}
}

// endMessage counts a message and keeps its border.
func (s *Scanner) endMessage() {
	s.now.messages++
	if s.user && !s.result {
		for f := range s.turn {
			s.turn[f] = s.now.sums[f][kindThink]
		}
	}
	if s.user {
		_ = s.text.hash.WriteByte('u')
	}
	s.borders[s.nborder%keptBorders] = border{hash: s.text.hash.Sum64(), at: s.now, turn: s.turn, answer: !s.user}
	s.nborder++
}

// beginRaw begins a value that counts as it stands; a field of a tool is a
// part of the tool's text.
func (s *Scanner) beginRaw() {
	if !s.inTool {
		s.text.begin(kindRaw)
	}
	if s.section == inFormat {
		s.marks |= Structured
	}
}

func (s *Scanner) endRaw() {
	if !s.inTool {
		s.text.end(s)
	}
}

// beginString begins a string that is a value.
func (s *Scanner) beginString() {
	switch s.use {
	case useText, useUnknown, useSource:
		if s.section != inSystem && s.section != inMessages {
			s.openString(toNothing)
			return
		}
		if s.use == useUnknown {
			s.marks |= Unknown
		}
		s.text.begin(kindText)
		s.openString(toText)
	case useThink:
		s.text.begin(kindThink)
		s.openString(toThink)
	case useRaw:
		s.beginRaw()
		s.text.put(s, '"')
		s.openString(toRaw)
	case useData:
		s.data.begin()
		s.openString(toData)
	case useType, useRole, useModel, useTTL:
		s.word.reset()
		s.openString(toWord)
	default:
		s.openString(toNothing)
	}
}

// endString ends the string at hand.
func (s *Scanner) endString() {
	if s.str.high != 0 {
		s.emit(nil)
	}
	to, back := s.str.to, s.str.back
	switch to {
	case toKey:
		s.state = atColon
		return
	case toText, toThink:
		s.text.end(s)
	case toRaw:
		s.text.put(s, '"')
		if back == 0 {
			s.endRaw()
		}
	case toData:
		s.data.end(s)
	case toWord:
		s.wordSaid(s.word.text())
	}
	if back != 0 {
		s.state = back
		return
	}
	s.done()
}

// wordSaid takes the value of a key that matters.
func (s *Scanner) wordSaid(w []byte) {
	switch {
	case s.use == useModel:
		s.nfound = copy(s.found[:], w)
	case s.use == useTTL:
		if string(w) == "1h" {
			s.marks |= CachesHour
		}
	case s.use == useRole:
		s.user = string(w) == "user"
	case s.section == inChoice:
		s.forced = string(w) == "any" || string(w) == "tool"
	case s.section == inTools:
		s.toolType(w)
	default:
		s.blockType(w)
	}
}

// toolType takes the type of a tool.
func (s *Scanner) toolType(w []byte) {
	if string(w) == "custom" {
		return
	}
	if n, ok := ownTool(w); ok {
		s.now.ownTools += n
		return
	}
	s.marks |= Server
}

// blockType takes the type of a block, or of a source: their words differ.
func (s *Scanner) blockType(w []byte) {
	switch string(w) {
	case "text", "tool_use", "search_result", "base64":
	case "tool_result":
		s.result = true
	case "image":
		s.now.images++
	case "document":
		s.now.docs++
	case "content":
		s.now.texts++ // a document made of blocks
	case "url", "file":
		s.marks |= External
	case "thinking", "redacted_thinking":
		s.marks |= Thinking
	default:
		if serverBlock(w) {
			s.marks |= Server
			return
		}
		s.marks |= Unknown
	}
}

// Scan tells what was found so far.
func (s *Scanner) Scan() Scan {
	if !s.hinted && string(s.found[:s.nfound]) != s.model {
		s.model = string(s.found[:s.nfound]) // kept, so that the next body with it allocates nothing
	}
	model := s.model
	v := parse(model)
	f, _ := v.family()
	marks := s.marks
	if s.state != atEnd {
		marks |= Truncated
	}
	now := s.now
	if s.text.n > 0 { // of a text that has not ended
		for g := s.from; g <= s.to; g++ {
			tables[g]().sum(&now.sums[g][s.text.kind], s.text.prev, s.text.buf[:s.text.n])
		}
	}
	scan := Scan{
		Model: model, Family: f, Marks: marks,
		Messages: now.messages, Tools: now.tools, Images: now.images, Pages: now.pages,
		Sums:  now.sumsOf(f, s.dropped(v, f)),
		Fixed: now.priced(f) + s.frame(v, &now),
	}
	if s.nborder > 0 {
		scan.border = s.prefix(model, s.borders[(s.nborder-1)%keptBorders].hash)
	}
	return scan
}

// dropped is the thinking that a model does not see again: that of earlier
// turns, unless it keeps it.
func (s *Scanner) dropped(v version, f Family) *lanes {
	if v.keepsThinking() {
		return new(lanes)
	}
	return &s.turn[f]
}

// frame is what stands around what was counted.
func (s *Scanner) frame(v version, now *tally) (tokens int) {
	f := v.frame()
	if now.messages > 0 {
		tokens = f.first + (now.messages-1)*f.further
	}
	if now.tools > 0 {
		if s.forced {
			return tokens + f.forced
		}
		return tokens + f.auto
	}
	return tokens
}

// prefix is the hash of a prefix of the conversation: the model, what stands
// before the messages, and the messages up to a border.
func (s *Scanner) prefix(model string, messages uint64) uint64 {
	h := maphash.String(seed, model)
	for _, k := range s.keyed {
		h = mix(h, k)
	}
	if s.forced {
		h = mix(h, 1)
	}
	return mix(h, messages)
}

// mix combines two hashes, in order.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xbf58476d1ce4e5b9)
	return hi ^ lo ^ bits.RotateLeft64(a, 17)
}
