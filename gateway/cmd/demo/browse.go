package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// envSecret holds the issuer's secret for the process that stands for a
// browser.
const envSecret = "POSTERN_DEMO_SECRET"

// browse signs in at the issuer's page as the person that it suggests, and
// follows the redirect back to the command line, which must not see the secret.
func browse(page, secret string) error {
	client := &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequest(http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	agreed, err := client.Do(request)
	if err != nil {
		return err
	}
	_ = agreed.Body.Close()
	back, err := url.Parse(agreed.Header.Get("Location"))
	if err != nil || back.Hostname() != "127.0.0.1" {
		return fmt.Errorf("the issuer answered with %s", agreed.Status)
	}
	done, err := client.Get(back.String())
	if err != nil {
		return err
	}
	return done.Body.Close()
}
