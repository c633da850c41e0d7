package statement

import (
	"fmt"
	"strings"
	"testing"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// lexerCorpus holds texts whose tokens are easily read wrongly.
var lexerCorpus = []string{
	"",
	"select 1",
	"SELECT 'it''s', E'it\\'s', E'a\\\\', U&'d\\0061t', U&\"d\\0061t\" uescape '!'",
	"select $$a$$, $a$b$$c$a$, $a$ $b$ $a$, $$ $a$ $$, $a$$$a$, $é$x$é$",
	"select $1, $12+$3, $1a",
	"select a$b, $ x, $a, a$$b$$",
	"select 'a'\n'b', 'a' 'b', 'a' -- c\n 'b', 'a'\n-- c\n'b', 'a'\n-- c",
	"select b'1''0', x'1''0'", "select 'a'\r'b', 'a'\f\n\t'b', 'a' /* c */\n'b'",
	"select E'a'\n'\\'b'",
	"select b'101'\n'1', x'1F', B'', X'', n'x', N'x'\n'y'",
	"select 1--1\n-1, 1 - -1, 1- -1, a--b\n, a-b",
	"select 1/*c*/2, 1/**/2, 1/*/**/*/2, 1/***/2, a*/*c*/b, a+/*c*/b, /*/ */ 1",
	"select a<>b, a!=b, a<=b, a>=b, a=>b, a:=b, a::b, a: :b, a:::b, a=-1, a=+1, a<-1",
	"select a@-b, a@-+b, a+-b, a--b", "select a?b, a?-b, a||-b, a|-b, a*-b, a*--b\n, a<->b, a<+>b, a#>>b, a->>b",
	"select a=--b\n1, a=/*x*/1, a@/*x*/b, a<=/*x*/b, a!=--\nb",
	"select 1.5, .5, 1., 1..2, 1.e5, 1e5, 1e+5, 1e-5, 1.5e10, .5e1",
	"select 1_000, 1__0, 1_, 0x1F, 0xFFFFFFFF, 0o17, 0b101, 0x_1F, 0b1_0, 1_0.0_1, 1e1_0",
	"select 0x", "select 0xZ", "select 0b2", "select 0o8", "select 0x_", "select 1e", "select 1e+", "select 1a", "select 1.a", "select 1.5a", "select 1_a", "select 1e5a",
	"select 2147483647, 2147483648, 9999999999999999999999, 0x7fffffff, 0x80000000, 00000000001",
	"select a.b, a . b, a.*, a..b, a...b, a[1:2], a[:], (a).b",
	"select \"a\"\"b\", \"a.b\", \"\"", "select \"a", "select 'a", "select E'a\\", "select $a$", "/* a", "/* /* */", "-- a",
	"select é, naïve, 名前, \"名前\", '名前', é1, _é$",
	"select u&x, u & x, U&'x', u&\"x\", u&", "select e, e'x', ex'x', bx, b 'x'",
	"select {x}, \\x, a`b, a~b, a!b, x ; y",
	"select a\vb\fc\rd", "select '\\', 'x'", "select E'\\'', 'x'",
	"select @-1, @@1, !!1, ~1, |/2, ||/27",
	"select -- c\r1", "a/b", "a /b", "a/ *b", "+-*/<>=~!@#%^&|`?", "+-", "-+", "*-", "@+", "@+-", "=-", "<-+", "-*/", "*/",
}

// FuzzLexer compares the lexer with PostgreSQL's own.
func FuzzLexer(f *testing.F) {
	for _, s := range lexerCorpus {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if check(sql, Limits{MaxBytes: 1 << 16}.withDefaults()) != nil {
			return
		}
		if diff := lexerDifference(sql); diff != "" {
			t.Fatalf("%q: %s", sql, diff)
		}
	})
}

// lexerDifference says where our tokens differ from PostgreSQL's.
func lexerDifference(sql string) string {
	result, err := pg_query.Scan(sql)
	l := lexer{text: sql}
	if err != nil {
		// Errors inside of tokens are the scanner's alone to find.
		if strings.Contains(err.Error(), "nicode") || strings.Contains(err.Error(), "escape") || strings.Contains(err.Error(), "invalid byte sequence") {
			return ""
		}
		for {
			if tok := l.next(); tok.kind == tokenError {
				return ""
			} else if tok.kind == tokenEnd {
				return fmt.Sprintf("no error, want %v", err)
			}
		}
	}
	for _, want := range result.GetTokens() {
		if want.GetToken() == pg_query.Token_SQL_COMMENT || want.GetToken() == pg_query.Token_C_COMMENT {
			continue
		}
		got := l.next()
		end := int(want.GetEnd())
		if want.GetToken() == pg_query.Token_USCONST || want.GetToken() == pg_query.Token_UIDENT {
			end = got.end // the C scanner does not say
		}
		if got.start != int(want.GetStart()) || got.end != end || !sameKind(got, want.GetToken(), sql) {
			return fmt.Sprintf("token %d %q at %d-%d, want %s at %d-%d", got.kind, sql[got.start:got.end], got.start, got.end, want.GetToken(), want.GetStart(), want.GetEnd())
		}
	}
	if tok := l.next(); tok.kind != tokenEnd {
		return fmt.Sprintf("one more token %q", sql[tok.start:tok.end])
	}
	return ""
}

// sameKind reports whether the token is what PostgreSQL takes it for.
func sameKind(got token, want pg_query.Token, sql string) bool {
	kinds := map[pg_query.Token]tokenKind{
		pg_query.Token_SCONST: tokenString, pg_query.Token_USCONST: tokenUString, pg_query.Token_BCONST: tokenBits, pg_query.Token_XCONST: tokenHexBits,
		pg_query.Token_ICONST: tokenInteger, pg_query.Token_FCONST: tokenFloat, pg_query.Token_PARAM: tokenParam, pg_query.Token_UIDENT: tokenUQuoted,
		pg_query.Token_Op: tokenOperator, pg_query.Token_TYPECAST: tokenOperator, pg_query.Token_COLON_EQUALS: tokenOperator,
		pg_query.Token_EQUALS_GREATER: tokenOperator, pg_query.Token_LESS_EQUALS: tokenOperator, pg_query.Token_GREATER_EQUALS: tokenOperator,
		pg_query.Token_NOT_EQUALS: tokenOperator, pg_query.Token_DOT_DOT: tokenDotDot,
	}
	if kind, ok := kinds[want]; ok {
		return got.kind == kind
	}
	text := sql[got.start:got.end]
	switch {
	case want == pg_query.Token_IDENT:
		return among(got.kind, tokenQuoted, tokenWord)
	case len(text) == 1 && !isIdentStart(text[0]):
		return among(got.kind, tokenOperator, tokenPunct, tokenOther)
	}
	return got.kind == tokenWord // a keyword
}

func TestLexer(t *testing.T) {
	for _, sql := range lexerCorpus {
		if diff := lexerDifference(sql); diff != "" {
			t.Errorf("%q: %s", sql, diff)
		}
	}
}
