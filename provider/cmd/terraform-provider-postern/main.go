// Command terraform-provider-postern is the Terraform provider.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"github.com/posternhq/postern/provider"
)

// version is set by the release build.
var version = "0.1.0"

func main() {
	debug := flag.Bool("debug", false, "serve for a debugger: print how to attach Terraform, and stay")
	flag.Parse()
	err := providerserver.Serve(context.Background(), provider.New(version), providerserver.ServeOpts{
		Address: "registry.terraform.io/posternhq/postern",
		Debug:   *debug,
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "terraform-provider-postern: %v\n", err)
		os.Exit(1)
	}
}
