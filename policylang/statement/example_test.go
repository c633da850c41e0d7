package statement_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/posternhq/postern/policylang/statement"
)

// A text becomes statements with their facts, in bounded time whatever it is.
func Example() {
	cache := statement.NewCache(1000, statement.Limits{})
	tree, err := cache.Parse("WITH gone AS (DELETE FROM orders WHERE true RETURNING id) SELECT count(*) FROM gone")
	if err != nil {
		panic(err)
	}
	f := tree.Statements[0].Facts
	fmt.Println(f.Command, f.Commands, f.Class, f.Filtered)
	for _, r := range f.Relations {
		fmt.Println(r.Verb, r.Name)
	}

	_, err = cache.Parse("SELECT " + strings.Repeat("(", 100_000))
	var refused *statement.Error
	fmt.Println(errors.As(err, &refused), err)
	// Output:
	// SELECT [DELETE SELECT] write false
	// delete orders
	// read orders
	// true the text nests deeper than 3000 levels (at character 3007)
}
