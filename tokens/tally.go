package tokens

// kind is what sort of text is being counted.
type kind uint8

const (
	kindText  kind = iota // what people and models wrote
	kindThink             // the thinking of earlier turns
	kindRaw               // JSON: definitions of tools and what they are called with
	kinds     = iota
)

// tally is all that has been counted up to some point of a body.
type tally struct {
	sums  [families][kinds]lanes // in 1/64 token, of the families that are counted
	image [tiers]int             // tokens of the images whose data is in the body

	messages int
	tools    int // definitions
	ownTools int // tokens of definitions that Anthropic writes
	images   int // blocks
	sized    int // images whose data is in the body
	docs     int // document blocks
	texts    int // documents that are text
	pdfs     int // documents that are a PDF in the body
	pages    int // of those
}

// sub takes away what had been counted before.
func (t *tally) sub(o *tally) {
	for f := range t.sums {
		for k := range t.sums[f] {
			for i := range t.sums[f][k] {
				t.sums[f][k][i] -= o.sums[f][k][i]
			}
		}
	}
	for i := range t.image {
		t.image[i] -= o.image[i]
	}
	t.messages -= o.messages
	t.tools -= o.tools
	t.ownTools -= o.ownTools
	t.images -= o.images
	t.sized -= o.sized
	t.docs -= o.docs
	t.texts -= o.texts
	t.pdfs -= o.pdfs
	t.pages -= o.pages
}

// Sums are the tokens of the texts of a body by class, as the weights have
// them: before anything learned scales them, and without what is priced.
type Sums struct {
	Letters, Digits, Signs, Wide float64 // by byte: A-Z and a-z, 0-9, the rest of ASCII, beyond ASCII
	Raw                          float64 // JSON of tools and their inputs
}

// Total is the sum of all classes.
func (s Sums) Total() float64 { return s.Letters + s.Digits + s.Signs + s.Wide + s.Raw }

// Marks tell what in a body could not be sized from its bytes.
type Marks uint16

// What a body can hold that makes its estimate less certain. Observations of
// bodies with a mark among [Unsized] teach nothing about texts.
const (
	Unknown    Marks = 1 << iota // blocks or fields that are not known; their strings are counted as text
	Server                       // server tools, MCP servers, containers: they bring in text of their own
	External                     // images or documents by URL or file id: an image costs its cap, a document a guess
	PDF                          // pages are counted where that is possible, and cost what pages usually cost
	Thinking                     // thinking whose real text is sealed
	Structured                   // a schema of the answer, with a hidden prompt of unknown length
	Edited                       // context editing or compaction may drop what is counted
	Unseen                       // an image whose header tells no size: it costs the cap
	Deep                         // nested too deep to tell keys from values; counted as JSON
	Truncated                    // the body ended early, or is no JSON object: only what was seen is counted
	Caches                       // cache_control is set: the prompt cache is used. Not an uncertainty of the total
	CachesHour                   // with a lifetime of one hour

	Unsized = Unknown | Server | External | PDF | Thinking | Structured | Edited | Unseen | Deep | Truncated
)

// Scan is what one pass over a body has found. It is a value: keep it until
// the answer has told the usage, while the [Scanner] serves other bodies.
type Scan struct {
	Model  string // as the caller of Reset named it; else as the body does
	Family Family // whose weights were used
	Sums   Sums   // of texts
	Fixed  int    // what is priced and not weighed: frame, tool prompt, images, PDFs

	Messages, Tools, Images, Pages int // Pages are those of PDFs
	Marks                          Marks

	border uint64 // hash of all there is, up to the end of the last message; 0 if there is none
}

// Tokens is the estimate that the weights and prices alone give.
func (s Scan) Tokens() float64 { return s.Sums.Total() + float64(s.Fixed) }

// sumsOf picks the sums of a family. Thinking counts as text; dropped is the
// part of it that the model does not see again.
func (t *tally) sumsOf(f Family, dropped *lanes) Sums {
	s := &t.sums[f]
	at := func(lane int) float64 {
		return float64(s[kindText][lane]+s[kindThink][lane]-dropped[lane]) / unit
	}
	return Sums{at(laneLetters), at(laneDigits), at(laneSigns), at(laneWide), float64(s[kindRaw].total()) / unit}
}

// priced is what the counted things cost besides the frame.
func (t *tally) priced(f Family) int {
	tier := f.tier()
	unseenImages := max(0, t.images-t.sized)
	unseenDocs := max(0, t.docs-t.texts-t.pdfs)
	return t.image[tier] + unseenImages*tier.cap() + (t.pages+unseenDocs*pagesUnseen)*f.page() + t.ownTools
}
