package mask

import (
	"github.com/posternhq/postern/gateway/mask/detect"
	"github.com/posternhq/postern/policylang"
)

// Detector masks values of some kinds in the texts of columns that otherwise
// pass. Where several are of one kind, the strictest transform wins.
type Detector struct {
	Kinds     detect.Kind
	Transform policylang.Transform // truncate and round, which don't fit texts, redact
	Policy    string               // hashes and tokens are comparable within it
	Observe   bool                 // only report
}

// found is how the values of one kind are masked; nil redacts.
type found struct {
	rewrite rewrite
	null    bool // the whole value becomes NULL
}

const kinds = 5

// detector is what a column's values are searched by.
type detector struct {
	want, observed detect.Kind
	by             [kinds]found
	report         func(detect.Kind)
	limit          int
}

// Types whose texts are searched besides those of classText. What is found
// there makes the whole value NULL: a part of it replaced, it might be no valid
// JSON, XML or array any more.
const (
	oidJSON         = 114
	oidXML          = 142
	oidNameArray    = 1003
	oidTextArray    = 1009
	oidBPCharArray  = 1014
	oidVarcharArray = 1015
	oidRecord       = 2249
	oidJSONB        = 3802
	firstUserOID    = 16384
)

func searchedWhole(typeOID uint32) bool {
	switch typeOID {
	case oidJSON, oidXML, oidNameArray, oidTextArray, oidBPCharArray, oidVarcharArray, oidRecord, oidJSONB:
		return true
	}
	return typeOID >= firstUserOID // citext, hstore, composites, arrays of these
}

// planDetector plans a column that passes but for what detectors find. The zero
// plan passes whole.
func planDetector(c Column, keys *Keys) columnPlan {
	text := classOf(c.TypeOID) == classText
	if len(c.Detect) == 0 || !text && !searchedWhole(c.TypeOID) {
		return columnPlan{}
	}
	d := &detector{report: c.Found, limit: c.textLimit()}
	for i := range d.by {
		d.plan(i, c.Detect, keys)
	}
	if d.want|d.observed == 0 {
		return columnPlan{}
	}
	if text {
		return columnPlan{rewrite: d.appendText}
	}
	return columnPlan{rewrite: d.appendWhole}
}

// plan combines what detectors say about one kind.
func (d *detector) plan(i int, detectors []Detector, keys *Keys) {
	kind := detect.Kind(1) << i
	var transforms []policylang.Transform
	policy := ""
	for _, t := range detectors {
		switch {
		case t.Kinds&kind == 0:
		case t.Observe:
			d.observed |= kind
		default:
			transforms = append(transforms, t.Transform)
			if policy == "" || t.Policy < policy {
				policy = t.Policy
			}
		}
	}
	if len(transforms) == 0 {
		return
	}
	d.want |= kind
	t := policylang.Strictest(transforms...)
	if format := kind.String(); t.Format == "text" && (kind == detect.Email || kind == detect.Card || kind == detect.Phone) {
		t.Format = format
	}
	d.by[i].null = t.Kind == policylang.TransformNull
	if p := planColumn(Column{Action: Mask, Transform: t, Policy: policy, TypeOID: oidText}, keys); p.rewrite != nil {
		d.by[i].rewrite = p.rewrite
	}
}

// of returns how values of a kind are masked.
func (d *detector) of(k detect.Kind) *found {
	for i := range d.by {
		if k == 1<<i {
			return &d.by[i]
		}
	}
	return &found{null: true}
}

func (d *detector) tell(k detect.Kind) {
	if d.report != nil {
		d.report(k)
	}
}

// appendText masks what is found, and copies what is around it.
func (d *detector) appendText(dst, value []byte) ([]byte, bool) {
	start, from, redacts := len(dst), 0, false
	for {
		s, ok := detect.Next(value, from, d.want|d.observed)
		if !ok {
			break
		}
		d.tell(s.Kind)
		f := d.of(s.Kind)
		if s.Kind&d.want == 0 {
			dst = append(dst, value[from:s.End]...)
			from = s.End
			continue
		}
		if f.null {
			return dst, false
		}
		dst = append(dst, value[from:s.Start]...)
		from = s.End
		if f.rewrite == nil {
			dst, redacts = append(dst, redacted...), true
			continue
		}
		if dst, ok = f.rewrite(dst, value[s.Start:s.End]); !ok {
			return dst, false
		}
	}
	if from == 0 {
		return append(dst, value...), true
	}
	dst = append(dst, value[from:]...)
	if redacts { // what is left may read on into a value, as of two addresses in one
		if _, again := detect.Next(dst[start:], 0, d.redacting()); again {
			dst = append(dst[:start], redacted...)
		}
	}
	return dst[:start+len(cutText(dst[start:], d.limit))], true
}

// redacting are the kinds that are redacted.
func (d *detector) redacting() detect.Kind {
	var k detect.Kind
	for i := range d.by {
		if bit := detect.Kind(1) << i; d.want&bit != 0 && d.by[i].rewrite == nil {
			k |= bit
		}
	}
	return k
}

// appendWhole passes a value in which nothing is found.
func (d *detector) appendWhole(dst, value []byte) ([]byte, bool) {
	for s := range detect.All(value, d.want|d.observed) {
		d.tell(s.Kind)
		if s.Kind&d.want != 0 {
			return dst, false
		}
	}
	return append(dst, value...), true
}
