package mask

import "bytes"

// moment is a date or timestamp: a day and the microseconds since its midnight,
// which an offset may have carried out of it.
type moment struct{ days, time int64 }

// parseMoment reads a date, timestamp or timestamptz as the server writes them
// with DateStyle ISO: "2024-03-05", "2024-03-05 14:23:11.5",
// "2024-03-05 14:23:11.5+05:30", each perhaps with " BC" behind.
func (c Column) parseMoment(text []byte) (moment, bool) {
	text, before := bytes.CutSuffix(text, []byte(" BC"))
	p := momentParser{rest: text}
	year := p.number(4, 7)
	p.skip('-')
	month := p.number(2, 2)
	p.skip('-')
	day := p.number(2, 2)
	if before {
		year = 1 - year
	}
	m := moment{days: daysOf(year, month, day)}
	if y, mo, d := civil(m.days); y != year || mo != month || d != day {
		return moment{}, false
	}
	if c.TypeOID != oidDate {
		p.skip(' ')
		m.time = p.clock()
	}
	if c.TypeOID == oidTimestamptz {
		m.time -= p.offset()
	}
	return m, !p.failed && len(p.rest) == 0
}

// momentParser reads the parts of a moment; the first that is not there fails
// it.
type momentParser struct {
	rest   []byte
	failed bool
}

// number reads a number of some digits.
func (p *momentParser) number(least, most int) int64 {
	n, at := int64(0), 0
	for at < len(p.rest) && at < most && isDigit(p.rest[at]) {
		n = n*10 + int64(p.rest[at]-'0')
		at++
	}
	p.failed = p.failed || at < least
	p.rest = p.rest[at:]
	return n
}

func (p *momentParser) skip(b byte) { p.failed = !p.skipped(b) || p.failed }

func (p *momentParser) skipped(b byte) bool {
	if len(p.rest) == 0 || p.rest[0] != b {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// clock reads hours, minutes, seconds and up to six decimals.
func (p *momentParser) clock() int64 {
	hours := p.number(2, 2)
	p.skip(':')
	minutes := p.number(2, 2)
	p.skip(':')
	seconds := p.number(2, 2)
	p.failed = p.failed || hours > 24 || minutes > 59 || seconds > 60
	micros := int64(0)
	if p.skipped('.') {
		before := len(p.rest)
		micros = p.number(1, 6)
		for range 6 - (before - len(p.rest)) {
			micros *= 10
		}
	}
	return hours*hourLength + minutes*60*second + seconds*second + micros
}

// offset reads a zone's offset from UTC.
func (p *momentParser) offset() int64 {
	sign := int64(1)
	if p.skipped('-') {
		sign = -1
	} else {
		p.skip('+')
	}
	offset := p.number(2, 2) * hourLength
	if p.skipped(':') {
		offset += p.number(2, 2) * 60 * second
	}
	if p.skipped(':') {
		offset += p.number(2, 2) * second
	}
	return sign * offset
}
