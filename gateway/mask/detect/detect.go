// Package detect finds e-mail addresses, card numbers, US social security
// numbers, IBANs and telephone numbers in texts, by what they look like and, where
// they have check digits, by these. Names of people look like any other words
// and are not looked for.
//
//	for span := range detect.All(text, detect.Every) {
//		hide(text[span.Start:span.End])
//	}
//
// It is a second net, for values that somebody put where nobody expected them:
// what is written in another alphabet, in words or in pieces is not found.
//
// Card numbers have 13 to 19 digits, in groups with single spaces or hyphens
// between them, the first two digits of a known network, and satisfy Luhn. An SSN
// is written 123-45-6789 (or with spaces) and is one that can be issued. An IBAN
// has the length of its country and satisfies ISO 7064 mod 97-10. A telephone
// number is written internationally with a + (E.164, 8 to 15 digits), or as in
// North America with separators. An e-mail address has a host name with a dot.
//
// Everything runs in one pass over the text and allocates nothing.
package detect

import "iter"

// Kind is what a value looks like. Kinds are bits.
type Kind uint8

// The kinds.
const (
	Email Kind = 1 << iota
	Card
	SSN
	IBAN
	Phone

	Every = Email | Card | SSN | IBAN | Phone
)

// kindNames pairs kinds with the names that policies give them.
var kindNames = [...]struct {
	kind Kind
	name string
}{{Email, "email"}, {Card, "card"}, {SSN, "ssn"}, {IBAN, "iban"}, {Phone, "phone"}}

// Names lists the names of the kinds.
func Names() []string {
	var out []string
	for _, k := range kindNames {
		out = append(out, k.name)
	}
	return out
}

// KindOf returns the kind of that name, 0 if there is none.
func KindOf(name string) Kind {
	for _, k := range kindNames {
		if k.name == name {
			return k.kind
		}
	}
	return 0
}

// String returns the kind's name, or "" of none or several.
func (k Kind) String() string {
	for _, n := range kindNames {
		if n.kind == k {
			return n.name
		}
	}
	return ""
}

// Span is where a value stands in a text: text[Start:End].
type Span struct {
	Kind       Kind
	Start, End int
}

// All visits what of the wanted kinds is in a text, from left to right, without
// overlaps.
func All(text []byte, want Kind) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for from := 0; ; {
			s, ok := Next(text, from, want)
			if !ok || !yield(s) {
				return
			}
			from = s.End
		}
	}
}

// Next returns the first value of the wanted kinds that begins at from or
// later.
func Next(text []byte, from int, want Kind) (Span, bool) {
	local := from // where the run of characters of an address began
	for at := from; at < len(text); at++ {
		b := text[at]
		switch class := classes[b]; {
		case class&classDigit != 0 || b == '+' || b == '(':
			if s, ok := number(text, at, from, want); ok {
				return s, true
			}
		case b == '@' && want&Email != 0:
			if end, ok := host(text, at+1); ok && at > local {
				return Span{Email, local, end}, true
			}
			local = at + 1
			continue
		case class&classUpper != 0 && want&IBAN != 0 && boundary(text, at, from):
			if end, ok := iban(text, at); ok {
				return Span{IBAN, at, end}, true
			}
		}
		if classes[b]&classLocal == 0 {
			local = at + 1
		}
	}
	return Span{}, false
}

// number reads what begins with a digit, + or ( at a boundary.
func number(text []byte, at, from int, want Kind) (Span, bool) {
	if !boundary(text, at, from) {
		return Span{}, false
	}
	if want&SSN != 0 {
		if end, ok := ssn(text, at); ok {
			return Span{SSN, at, end}, true
		}
	}
	if want&Card != 0 {
		if end, ok := card(text, at); ok {
			return Span{Card, at, end}, true
		}
	}
	if want&Phone != 0 {
		if end, ok := phone(text, at); ok {
			return Span{Phone, at, end}, true
		}
	}
	return Span{}, false
}

const (
	classDigit byte = 1 << iota
	classUpper
	classLower
	classLocal // of an address before the @
)

var classes = func() (c [256]byte) {
	for b := '0'; b <= '9'; b++ {
		c[b] = classDigit | classLocal
	}
	for b := 'A'; b <= 'Z'; b++ {
		c[b] = classUpper | classLocal
		c[b+'a'-'A'] = classLower | classLocal
	}
	for _, b := range "!#$%&*+-/=?^_{|}~." {
		c[b] |= classLocal
	}
	for b := 0x80; b < 0x100; b++ { // RFC 6531
		c[b] |= classLocal
	}
	return c
}()

const alphanumeric = classDigit | classUpper | classLower

// boundary reports whether no word or number goes on into text[at:].
func boundary(text []byte, at, from int) bool {
	return at == from || at == 0 || classes[text[at-1]]&alphanumeric == 0
}

// ends reports whether no word or number goes on at text[at:].
func ends(text []byte, at int) bool {
	return at == len(text) || classes[text[at]]&alphanumeric == 0
}

func digitAt(text []byte, at int) bool { return at < len(text) && classes[text[at]]&classDigit != 0 }

// host reads a host name with a dot and a last label of letters.
func host(text []byte, at int) (end int, ok bool) {
	label, dots := at, 0
	letters := true
	end = -1
	for ; at < len(text); at++ {
		b := text[at]
		switch {
		case b == '.' && at > label:
			dots, label, letters = dots+1, at+1, true
		case classes[b]&alphanumeric != 0 || b == '-' && at > label || b >= 0x80:
			letters = letters && classes[b]&classDigit == 0 && b != '-'
		default:
			return end, end > 0
		}
		if dots > 0 && letters && at-label >= 1 && ends(text, at+1) {
			end = at + 1
		}
	}
	return end, end > 0
}

// separator reports whether a digit follows one separator at text[at:].
func separator(text []byte, at int, allowed string) bool {
	if at+1 >= len(text) || classes[text[at+1]]&classDigit == 0 {
		return false
	}
	for i := range len(allowed) {
		if text[at] == allowed[i] {
			return true
		}
	}
	return false
}

// ssn reads AAA-GG-SSSS. Areas 000, 666 and from 900, group 00 and serial 0000
// are never issued.
func ssn(text []byte, at int) (end int, ok bool) {
	const length = 11
	if len(text)-at < length || text[at+3] != '-' && text[at+3] != ' ' || text[at+6] != text[at+3] || !ends(text, at+length) || separator(text, at+length, "-") {
		return 0, false
	}
	value := func(from, to int) int {
		n := 0
		for _, b := range text[at+from : at+to] {
			if classes[b]&classDigit == 0 {
				return 0
			}
			n = n*10 + int(b-'0')
		}
		return n
	}
	area := value(0, 3)
	if area == 0 || area == 666 || area >= 900 || value(4, 6) == 0 || value(7, length) == 0 {
		return 0, false
	}
	return at + length, true
}

// card reads 13 to 19 digits with single separators: the longest run of groups
// that is a card's number.
func card(text []byte, at int) (end int, ok bool) {
	const least, most = 13, 19
	var digits [most]byte
	n := 0
	for ; ; at++ {
		switch {
		case digitAt(text, at):
			if n == most {
				return end, end > 0
			}
			digits[n] = text[at] - '0'
			n++
			continue
		case n >= least && ends(text, at) && cardNetwork(digits[:n]) && luhn(digits[:n]):
			end = at
		}
		if at >= len(text) || !separator(text, at, " -") {
			return end, end > 0
		}
	}
}

// cardNetwork knows the prefixes of ISO/IEC 7812: 3 to 6 of the large networks,
// 2 of Mastercard, 8 and 9 of national ones.
func cardNetwork(digits []byte) bool {
	same := true
	for _, d := range digits {
		same = same && d == digits[0]
	}
	return digits[0] >= 2 && !same
}

func luhn(digits []byte) bool {
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i])
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// ibanLengths are those of the SWIFT registry, by country.
var ibanLengths = map[[2]byte]int{
	{'A', 'D'}: 24, {'A', 'E'}: 23, {'A', 'L'}: 28, {'A', 'T'}: 20, {'A', 'Z'}: 28, {'B', 'A'}: 20, {'B', 'E'}: 16, {'B', 'G'}: 22,
	{'B', 'H'}: 22, {'B', 'I'}: 27, {'B', 'R'}: 29, {'B', 'Y'}: 28, {'C', 'H'}: 21, {'C', 'R'}: 22, {'C', 'Y'}: 28, {'C', 'Z'}: 24,
	{'D', 'E'}: 22, {'D', 'J'}: 27, {'D', 'K'}: 18, {'D', 'O'}: 28, {'E', 'E'}: 20, {'E', 'G'}: 29, {'E', 'S'}: 24, {'F', 'I'}: 18,
	{'F', 'K'}: 18, {'F', 'O'}: 18, {'F', 'R'}: 27, {'G', 'B'}: 22, {'G', 'E'}: 22, {'G', 'I'}: 23, {'G', 'L'}: 18, {'G', 'R'}: 27,
	{'G', 'T'}: 28, {'H', 'R'}: 21, {'H', 'U'}: 28, {'I', 'E'}: 22, {'I', 'L'}: 23, {'I', 'Q'}: 23, {'I', 'S'}: 26, {'I', 'T'}: 27,
	{'J', 'O'}: 30, {'K', 'W'}: 30, {'K', 'Z'}: 20, {'L', 'B'}: 28, {'L', 'C'}: 32, {'L', 'I'}: 21, {'L', 'T'}: 20, {'L', 'U'}: 20,
	{'L', 'V'}: 21, {'L', 'Y'}: 25, {'M', 'C'}: 27, {'M', 'D'}: 24, {'M', 'E'}: 22, {'M', 'K'}: 19, {'M', 'N'}: 20, {'M', 'R'}: 27,
	{'M', 'T'}: 31, {'M', 'U'}: 30, {'N', 'I'}: 28, {'N', 'L'}: 18, {'N', 'O'}: 15, {'O', 'M'}: 23, {'P', 'K'}: 24, {'P', 'L'}: 28,
	{'P', 'S'}: 29, {'P', 'T'}: 25, {'Q', 'A'}: 29, {'R', 'O'}: 24, {'R', 'S'}: 22, {'R', 'U'}: 33, {'S', 'A'}: 24, {'S', 'C'}: 31,
	{'S', 'D'}: 18, {'S', 'E'}: 24, {'S', 'I'}: 19, {'S', 'K'}: 24, {'S', 'M'}: 27, {'S', 'O'}: 23, {'S', 'T'}: 25, {'S', 'V'}: 28,
	{'T', 'L'}: 23, {'T', 'N'}: 24, {'T', 'R'}: 26, {'U', 'A'}: 29, {'V', 'A'}: 22, {'V', 'G'}: 24, {'X', 'K'}: 20, {'Y', 'E'}: 30,
}

// iban reads an IBAN, whose groups may have single spaces or hyphens between
// them.
func iban(text []byte, at int) (end int, ok bool) {
	if at+3 >= len(text) || !digitAt(text, at+2) || !digitAt(text, at+3) {
		return 0, false
	}
	length, known := ibanLengths[[2]byte{text[at], text[at+1]}]
	if !known {
		return 0, false
	}
	const most = 34
	var symbols [most]byte
	n := 0
	for ; at < len(text) && n < length; at++ {
		switch b := text[at]; {
		case classes[b]&(classDigit|classUpper) != 0:
			symbols[n] = b
			n++
		case (b == ' ' || b == '-') && n%4 == 0 && n > 0:
		default:
			return 0, false
		}
	}
	return at, n == length && ends(text, at) && mod97(symbols[:n]) == 1
}

// mod97 is ISO 7064's remainder, the first four symbols put last.
func mod97(symbols []byte) int {
	rest := 0
	for i := range symbols {
		b := symbols[(i+4)%len(symbols)]
		if b >= 'A' {
			rest = (rest*100 + int(b-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(b-'0')) % 97
		}
	}
	return rest
}

// phone reads + and 8 to 15 digits with separators, or North American
// (212) 555-0100, 212-555-0100, 212.555.0100.
func phone(text []byte, at int) (end int, ok bool) {
	if text[at] == '+' {
		return international(text, at)
	}
	open := text[at] == '('
	if open {
		at++
	}
	digits := func(n int) bool {
		for range n {
			if !digitAt(text, at) {
				return false
			}
			at++
		}
		return true
	}
	if at >= len(text) || text[at] < '2' || !digits(3) {
		return 0, false
	}
	if open {
		if at >= len(text) || text[at] != ')' {
			return 0, false
		}
		if at++; at < len(text) && text[at] == ' ' {
			at++
		}
	} else if !separator(text, at, "-. ") {
		return 0, false
	} else {
		at++
	}
	if at >= len(text) || text[at] < '2' || !digits(3) || !separator(text, at, "-. ") {
		return 0, false
	}
	at++
	if !digits(4) || !ends(text, at) {
		return 0, false
	}
	return at, true
}

func international(text []byte, at int) (end int, ok bool) {
	const least, most = 8, 15
	n := 0
	at++
	if !digitAt(text, at) || text[at] == '0' {
		return 0, false
	}
	for at < len(text) {
		b := text[at]
		switch {
		case classes[b]&classDigit != 0:
			if n++; n > most {
				return 0, false
			}
		case separator(text, at, " -./("), b == ')' && at+1 < len(text) && (digitAt(text, at+1) || separator(text, at+1, " -")),
			b == ' ' && at+2 < len(text) && text[at+1] == '(' && digitAt(text, at+2):
		default:
			return at, n >= least && ends(text, at)
		}
		at++
	}
	return at, n >= least
}
