package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/posternhq/postern/policylang/bundle"
)

// maxManifest bounds an artifact's manifest, in bytes.
const maxManifest = 1 << 20

// oci is an artifact that a tag points at
// (https://github.com/opencontainers/image-spec/blob/main/manifest.md).
type oci struct {
	name string
	repo *remote.Repository

	// The release that was read last, the digest of its manifest, and the
	// layer of its bundle.
	last     []byte
	manifest string
	sealed   ocispec.Descriptor
}

func (c *Config) openOCI(u *url.URL) (*oci, error) {
	if u.RawQuery != "" {
		return nil, errors.New("an oci source takes no parameters")
	}
	repo, err := remote.NewRepository(u.Host + u.Path)
	if err != nil || repo.Reference.Reference == "" {
		return nil, errors.New("an oci source must be oci://HOST/REPOSITORY:TAG")
	}
	repo.PlainHTTP = isLoopback(u.Hostname())
	client := &auth.Client{Client: c.client(), Cache: auth.NewCache()}
	// What docker login or oras login has left; none is fine.
	if logins, err := credentials.NewStoreFromDocker(credentials.StoreOptions{}); err == nil {
		client.Credential = credentials.Credential(logins)
	}
	if c.UserAgent != "" {
		client.SetUserAgent(c.UserAgent)
	}
	repo.Client = client
	return &oci{name: u.String(), repo: repo}, nil
}

// String names the registry, the repository and the tag.
func (o *oci) String() string { return o.name }

func (o *oci) release(ctx context.Context) ([]byte, error) {
	at, err := o.repo.Resolve(ctx, o.repo.Reference.Reference)
	if err != nil {
		return nil, fmt.Errorf("resolve the tag: %w", err)
	}
	if at.Digest.String() == o.manifest {
		return o.last, nil
	}
	manifest, err := o.readManifest(ctx, at)
	if err != nil {
		return nil, err
	}
	layer, err := layerOf(manifest, bundle.TypeRelease, bundle.MaxReleaseSize)
	if err != nil {
		return nil, err
	}
	sealed, err := layerOf(manifest, bundle.TypeBundle, bundle.MaxBundleSize)
	if err != nil {
		return nil, err
	}
	data, err := content.FetchAll(ctx, o.repo, layer)
	if err != nil {
		return nil, fmt.Errorf("read the release's layer: %w", err)
	}
	o.last, o.manifest, o.sealed = data, at.Digest.String(), sealed
	return data, nil
}

// bundle reads the layer. Whether it is the bundle of that digest is verified
// by whoever opens it.
func (o *oci) bundle(ctx context.Context, _ string) ([]byte, error) {
	return content.FetchAll(ctx, o.repo, o.sealed)
}

func (o *oci) readManifest(ctx context.Context, at ocispec.Descriptor) (ocispec.Manifest, error) {
	var m ocispec.Manifest
	if at.Size > maxManifest {
		return m, fmt.Errorf("the manifest has %d bytes, at most %d are read", at.Size, maxManifest)
	}
	data, err := content.FetchAll(ctx, o.repo, at)
	if err != nil {
		return m, fmt.Errorf("read the manifest: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("read the manifest: %w", err)
	}
	return m, nil
}

// layerOf returns the one layer of a media type.
func layerOf(m ocispec.Manifest, mediaType string, limit int64) (ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	for _, l := range m.Layers {
		if l.MediaType == mediaType {
			found = append(found, l)
		}
	}
	switch {
	case len(found) != 1:
		return ocispec.Descriptor{}, fmt.Errorf("the artifact has %d layers of type %s, want 1", len(found), mediaType)
	case found[0].Size > limit:
		return ocispec.Descriptor{}, fmt.Errorf("%w: the layer of type %s has %d bytes, at most %d are possible", bundle.ErrTooLarge, mediaType, found[0].Size, limit)
	}
	return found[0], nil
}
