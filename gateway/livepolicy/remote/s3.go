package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// S3Credentials sign requests to an S3-compatible store. Without an access key
// requests are anonymous.
type S3Credentials struct {
	AccessKey, SecretKey string
	SessionToken         string // of temporary credentials
	Region               string // us-east-1 unless set, here or in the URL
}

// openS3 reads objects as files of a web server, with signed requests
// (Signature Version 4, https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
// The bucket is in the path where the URL names an endpoint, as every
// compatible store understands, and in the host name at AWS.
func (c *Config) openS3(u *url.URL) (*web, error) {
	query := u.Query()
	region := firstOf(query.Get("region"), c.S3.Region, "us-east-1")
	endpoint := query.Get("endpoint")
	query.Del("region")
	query.Del("endpoint")
	switch {
	case len(query) > 0:
		return nil, errors.New("an s3 source takes the parameters endpoint and region alone")
	case u.Host == "":
		return nil, errors.New("an s3 source must be s3://BUCKET[/PREFIX]")
	case (c.S3.AccessKey == "") != (c.S3.SecretKey == ""):
		return nil, errors.New("an access key and its secret go together")
	}
	base := &url.URL{Scheme: "https", Host: u.Host + ".s3." + region + ".amazonaws.com", Path: u.Path}
	if endpoint != "" {
		at, err := url.Parse(endpoint)
		if err != nil || at.User != nil || at.RawQuery != "" {
			return nil, errors.New("the endpoint of an s3 source must be https://HOST[:PORT]")
		}
		base = at.JoinPath(u.Host, u.Path)
	}
	w, err := (&Config{RootCAs: c.RootCAs, UserAgent: c.UserAgent}).openWeb(base)
	if err != nil {
		return nil, err
	}
	if c.S3.AccessKey != "" {
		w.sign = c.S3.signer(region)
	}
	// A redirect would need a signature of its own.
	w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return w, nil
}

// signer signs requests without a body.
func (c S3Credentials) signer(region string) func(*http.Request) error {
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }) // as S3 has it
	none := sha256.Sum256(nil)
	payload := hex.EncodeToString(none[:])
	keys := aws.Credentials{AccessKeyID: c.AccessKey, SecretAccessKey: c.SecretKey, SessionToken: c.SessionToken}
	return func(r *http.Request) error {
		r.Header.Set("X-Amz-Content-Sha256", payload)
		return signer.SignHTTP(r.Context(), keys, r, payload, "s3", region, time.Now())
	}
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if strings.TrimSpace(t) != "" {
			return t
		}
	}
	return ""
}
