package bundle

import "testing"

// SealPayload signs any payload with the key, in the name of the key claimed.
func SealPayload(t testing.TB, payloadType string, payload []byte, k *PrivateKey, claimed PublicKey) []byte {
	t.Helper()
	signature, err := k.Sign(preAuthEncode(payloadType, payload))
	if err != nil {
		t.Fatal(err)
	}
	data, err := envelope{payloadType: payloadType, payload: payload, keyID: claimed.ID(), signature: signature}.encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}
