package main

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/catalog"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

var update = flag.Bool("update", false, "rewrite the files that tests compare with")

// baselineFile is the catalog of an empty database that policy tests start
// from.
const baselineFile = "../../../policylang/scenario/baseline.json.gz"

// TestBaseline compares the catalog that policy tests start from with that of
// an empty database of a real server. With -update it is read anew; that is
// only right on the server version that the scenario package names.
func TestBaseline(t *testing.T) {
	cluster := pgtest.New(t)
	conn, err := pgconn.Connect(t.Context(), cluster.URL("template1", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	cat, err := catalog.Load(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	got, err := cat.Encode()
	if err != nil {
		t.Fatal(err)
	}
	// Which transaction wrote a row is each server's own.
	got = regexp.MustCompile(`"(Columns)?Version":\d+`).ReplaceAll(got, []byte(`"${1}Version":0`))
	if *update {
		writeBaseline(t, got)
	}
	base := readBaseline(t)
	if base.ServerVersion/10000 != cat.ServerVersion/10000 {
		t.Skipf("the server has version %d, the baseline %d", cat.ServerVersion, base.ServerVersion)
	}
	want, err := base.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the server's catalog is not the baseline: (-want +got)\n%.4000s", cmp.Diff(string(want), string(got)))
	}
}

func readBaseline(t *testing.T) *pgcatalog.Catalog {
	t.Helper()
	packed, err := os.ReadFile(baselineFile)
	if err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	base, err := pgcatalog.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

func writeBaseline(t *testing.T, data []byte) {
	t.Helper()
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := zip.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(baselineFile, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
