package bundle

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// envelope is a decoded envelope. Only open's result is verified.
type envelope struct {
	payloadType string
	payload     []byte
	message     []byte // that is signed: the payload's PAE
	keyID       string
	signature   []byte
}

// wireEnvelope is the envelope's JSON. Its member order is the format's.
type wireEnvelope struct {
	PayloadType string          `json:"payloadType"`
	Payload     string          `json:"payload"`
	Signatures  []wireSignature `json:"signatures"`
}

type wireSignature struct {
	KeyID     string `json:"keyid"`
	Signature string `json:"sig"`
}

// seal signs the payload and verifies what the signer returned, since a remote
// signer may hold another key than the one it names.
func seal(payloadType string, payload []byte, limit int, s Signer) ([]byte, error) {
	key := s.PublicKey()
	message := preAuthEncode(payloadType, payload)
	signature, err := s.Sign(message)
	if err != nil {
		return nil, fmt.Errorf("sign with %q: %w", key.ID(), err)
	}
	if !key.verify(message, signature) {
		return nil, fmt.Errorf("sign with %q: %w: the signer used another key", key.ID(), ErrSignature)
	}
	e := envelope{payloadType: payloadType, payload: payload, keyID: key.ID(), signature: signature}
	data, err := e.encode()
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrTooLarge, len(data), limit)
	}
	return data, nil
}

// open decodes an envelope of the wanted type and verifies its signature.
func open(wantType string, data []byte, limit int, trusted KeyRing) (envelope, error) {
	e, err := decode(data, limit)
	if err != nil {
		return envelope{}, err
	}
	if e.payloadType != wantType {
		return envelope{}, fmt.Errorf("%w: %q, want %q", ErrWrongType, e.payloadType, wantType)
	}
	key, ok := trusted.byID[e.keyID]
	switch {
	case trusted.revoked[e.keyID]:
		return envelope{}, fmt.Errorf("%w: signed by %q, trusted are %q", ErrRevokedKey, e.keyID, trusted.ids())
	case !ok:
		return envelope{}, fmt.Errorf("%w: signed by %q, trusted are %q", ErrUnknownKey, e.keyID, trusted.ids())
	}
	if !key.verify(e.message, e.signature) {
		return envelope{}, fmt.Errorf("%w: not made by %q over these bytes", ErrSignature, e.keyID)
	}
	return e, nil
}

// decode reads an envelope in its one encoding. Nothing is verified.
func decode(data []byte, limit int) (envelope, error) {
	if len(data) > limit {
		return envelope{}, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrTooLarge, len(data), limit)
	}
	w, ok := cut(data)
	if !ok {
		return envelope{}, malformed(data)
	}
	e := envelope{payloadType: string(w.payloadType), keyID: string(w.keyID)}
	var err error
	if e.message, e.payload, err = decodePayload(e.payloadType, w.payload); err != nil {
		return envelope{}, fmt.Errorf("%w: payload: %w", ErrMalformed, err)
	}
	if e.signature, err = decodeBase64(nil, w.signature); err != nil {
		return envelope{}, fmt.Errorf("%w: signature: %w", ErrMalformed, err)
	}
	if len(e.signature) != ed25519.SignatureSize {
		return envelope{}, fmt.Errorf("%w: signature of %d bytes, want %d", ErrMalformed, len(e.signature), ed25519.SignatureSize)
	}
	return e, nil
}

// texts are the texts of an envelope, where they stand in it.
type texts struct{ payloadType, payload, keyID, signature []byte }

// cut takes an envelope apart, without a copy of its megabytes. There being one
// encoding of each, it is the encoding or it is nothing.
func cut(data []byte) (w texts, ok bool) {
	parts := []struct {
		before string
		text   *[]byte
	}{
		{`{"payloadType":"`, &w.payloadType},
		{`","payload":"`, &w.payload},
		{`","signatures":[{"keyid":"`, &w.keyID},
		{`","sig":"`, &w.signature},
	}
	for _, p := range parts {
		if data, ok = bytes.CutPrefix(data, []byte(p.before)); !ok {
			return texts{}, false
		}
		end := bytes.IndexByte(data, '"')
		if end < 0 || !plain(data[:end]) {
			return texts{}, false
		}
		*p.text, data = data[:end], data[end:]
	}
	return w, string(data) == `"}]}`
}

// plain reports whether a text stands for itself in JSON: types, keys and
// base64 are printable ASCII, and a backslash begins an escape.
func plain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// malformed says why data is no envelope.
func malformed(data []byte) error {
	var w wireEnvelope
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(&w)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends after %d bytes", ErrTruncated, len(data))
	case err != nil:
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	case len(w.Signatures) != 1:
		return fmt.Errorf("%w: %d signatures, want 1", ErrMalformed, len(w.Signatures))
	}
	return fmt.Errorf("%w: not the one encoding (white space, an unknown or repeated member, an escape or trailing bytes)", ErrMalformed)
}

// decodePayload decodes a payload into the message that is signed.
func decodePayload(payloadType string, text []byte) (message, payload []byte, err error) {
	padding := min(2, len(text)-len(bytes.TrimRight(text, "=")))
	message = preAuth(payloadType, max(0, base64.StdEncoding.DecodedLen(len(text))-padding))
	before := len(message)
	message, err = decodeBase64(message, text)
	return message, message[before:], err
}

// decodeBase64 appends what the text stands for. The text is plain: white
// space, which the decoder skips, is not in it.
func decodeBase64(into, text []byte) ([]byte, error) {
	return base64.StdEncoding.Strict().AppendDecode(into, text) //nolint:wrapcheck // the caller says which
}

func (e envelope) encode() ([]byte, error) {
	return marshal(wireEnvelope{
		PayloadType: e.payloadType,
		Payload:     base64.StdEncoding.EncodeToString(e.payload),
		Signatures:  []wireSignature{{KeyID: e.keyID, Signature: base64.StdEncoding.EncodeToString(e.signature)}},
	})
}

// preAuthEncode is DSSE's PAE: its lengths keep type and payload apart.
func preAuthEncode(payloadType string, payload []byte) []byte {
	return append(preAuth(payloadType, len(payload)), payload...)
}

// preAuth is what stands before a payload of that size in its PAE.
func preAuth(payloadType string, size int) []byte {
	out := make([]byte, 0, len("DSSEv1")+len(payloadType)+size+2*20+4)
	out = append(out, "DSSEv1 "...)
	out = strconv.AppendInt(out, int64(len(payloadType)), 10)
	out = append(out, ' ')
	out = append(out, payloadType...)
	out = append(out, ' ')
	out = strconv.AppendInt(out, int64(size), 10)
	return append(out, ' ')
}

// marshal encodes v as compact JSON without HTML escapes.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
