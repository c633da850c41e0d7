// Package bypass is a corpus of attacks on gateways that mask columns and deny
// statements in front of PostgreSQL, with benign statements that they must
// serve, and a runner that plays it against any such gateway.
//
// Everybody's path is
//
//	cases, err := bypass.Corpus()
//	runner := &bypass.Runner{Server: postgres, Target: gateway}
//	err = runner.Open(ctx)             // roles, template database
//	defer runner.Close(ctx)
//	result := runner.Run(ctx, cases[0])
//
// The runner speaks the wire protocol itself and keeps every byte that the
// gateway sends to the attacker: a value counts as revealed wherever it turns
// up, in a row, an error, a notice, a notification or a parameter's report.
// Every attack that is not marked otherwise really succeeds against a bare
// server: with Target equal to Server each must, which is how the corpus and
// the runner are themselves tested.
//
// # What the gateway must be told
//
// The cases play in databases made from schema.sql, whose customers and events
// have columns to protect. The gateway lets in the roles of roles.sql, each as
// itself, and holds two policies, of which a case names one (see [Policy]).
// Under the first, [Standard] columns are masked for each of these roles and
// everything else is allowed. Under the second, what follows is refused too:
// writes to public.orders, by whatever way; updates and deletes on
// public.customers unless approved, and nobody approves; LOCK TABLE; DDL,
// GRANT, DO, CALL, COPY with files and programs, SET ROLE and what else
// changes the server or who the session is.
//
// # Format
//
// A category is a txtar archive in testdata/corpus. The archive's comment says
// what the category is about. Each file is a case; its name is the case's. A
// line is a verb and its argument; a line that starts with a tab continues the
// argument of the line before; # starts a comment, the first of which is the
// case's title. An argument that is a Go string literal in double quotes
// stands for its value. {DB}, {DIR}, {PORT} stand for the case's database, the
// directory of the server's socket, in which it may write, and its port;
// {GUESS} for the guess being tried; {3*ab} for ababab.
//
// Who and where:
//
//	as ROLE            the attacker; analyst if there is no such line
//	versions 14-18     majors of PostgreSQL on which the case makes sense
//	setup SQL          run by the superuser beforehand, straight to the server
//	teardown SQL       the same afterwards
//	protect COLUMN     another column that the gateway must mask in this case
//	alone              it reaches into what all databases share, so no other
//	                   case runs meanwhile
//
// Steps, of the connection named after @ or else of the main one, which opens
// when it is first needed:
//
//	query SQL          a simple Query, read until ReadyForQuery
//	feed TEXT          the data of the COPY FROM STDIN in the step before
//	stream 2s SQL      a simple Query whose answer need not end
//	send               the messages on the tabbed lines in one write:
//	                     parse NAME(TYPE,TYPE): SQL (name and types optional)
//	                     bind portal=P statement=S results=1,0 "param" ...
//	                     describe statement S, describe portal P
//	                     execute P max=N
//	                     close statement S, close portal P
//	                     query SQL, queryhex 53454c
//	                     call get_email(int) result=1 "argument" ...
//	                     copyfail, flush, sync
//	connect KEY=VALUE  open the connection, with these startup parameters; a
//	                   key may come twice
//	dial HEX           open it, send these bytes and nothing else
//	cancel@NAME        ask to cancel what the connection is doing
//	admin SQL          run by the superuser, straight to the server
//	sleep 300ms
//
// What decides, of which a case has one kind:
//
//	leak TEXT          reveal: TEXT in any byte received, plain or encoded
//	cell TEXT          reveal: a value of a row is TEXT
//	rows               reveal: there is a row
//	guess TEXT         reveal: answers that differ between two guesses
//	effect SQL         execute: afterwards SQL gives the value of
//	equals TEXT
//	accepted TAG       execute: the server completed a command of this tag
//	same               allow: the answer is the bare server's
//	masked 2 3         serve: no error, and only these columns may differ
//	                   from the bare server's answer; leak and cell beside it
//	                   say what must not be there
//	control            nothing: it must only not break the gateway
//	unproven           with another kind: a stock server doesn't fall for it
package bypass
