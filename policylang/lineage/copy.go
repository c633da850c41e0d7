package lineage

import (
	"strings"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// CopyFormat is what the options of COPY … TO say about how its rows look.
// Empty strings are what the format has by default.
type CopyFormat struct {
	Format    string // "text", "csv" or "binary"
	Delimiter string
	Null      string
	HasNull   bool // Null is meant even if it is empty
	Quote     string
	Escape    string
	Header    bool
}

// copyFormat reads the options of COPY … TO. One that it does not know is
// refused: rows would be misread.
func (a *analyzer) copyFormat(n *ast.CopyStmt) *CopyFormat {
	f := &CopyFormat{Format: "text"}
	for _, o := range n.Options {
		option, ok := ast.Unwrap(o).(*ast.DefElem)
		if !ok {
			a.unsupported(n, "this option of COPY")
			return nil
		}
		text := optionText(option)
		switch option.Defname {
		case "format":
			f.Format = text
		case "delimiter":
			f.Delimiter = text
		case "null":
			f.Null, f.HasNull = text, true
		case "quote":
			f.Quote = text
		case "escape":
			f.Escape = text
		case "header":
			f.Header = isOn(option)
		case "encoding":
			if name := strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(text)); name != "utf8" && name != "unicode" {
				a.refuse(CodeUnsupported, option.Location, "Use the encoding UTF8.", "COPY may not change the encoding while values are masked for you")
			}
		case "force_quote", "freeze":
		default:
			a.unsupported(n, "this option of COPY")
			return nil
		}
	}
	return f
}
