// Command demo is `make demo`: Postern's main job on a throwaway PostgreSQL
// with real Terraform and real psql, told as a transcript. It starts a local
// issuer of its own, which nothing outside the demo accepts.
//
// Everything it makes is in one temporary directory and gone at the end. With
// --ci it runs through, asserts what it shows, and exits.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ci := flag.Bool("ci", false, "run through and exit")
	bin := flag.String("bin", "bin", "directory of the postern and provider binaries")
	story := flag.String("story", "examples/stories/quickstart", "directory of the Terraform configuration")
	page := flag.Bool("browse", false, "stand for a browser: sign in at the issuer's page that is given")
	flag.Parse()
	if *page {
		if err := browse(flag.Arg(0), os.Getenv(envSecret)); err != nil {
			fmt.Fprintf(os.Stderr, "demo: %v\n", err)
			os.Exit(1)
		}
		return
	}

	signal.Ignore(syscall.SIGPIPE) // a reader that leaves must not keep us from cleaning up
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, *story, *ci); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, story string, ci bool) (err error) {
	began := time.Now()
	w, err := newWorld(ctx, bin, story)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.explain()
		}
		w.close()
	}()
	for _, scene := range []func(context.Context) error{
		w.startPostgreSQL, w.startIssuer, w.startPostern, w.applyPolicy, w.signIn,
		w.maskedRead, w.deniedStatement, w.heldStatement, w.pipelineInsert, w.contractorLeaves, w.readEvidence,
	} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("\nAll of it took %.1f s.\n", time.Since(began).Seconds())
	if ci {
		return nil
	}
	w.hint()
	<-ctx.Done()
	fmt.Println("\nStopping.")
	return nil
}
