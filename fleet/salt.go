package fleet

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// hashes hides credentials. The salt keeps whoever reads the store from
// finding out which of a list of keys are in use; it is the same for all of
// the fleet, so that they mean the same by a hash.
type hashes struct {
	mu   sync.Mutex
	salt []byte
	sure bool      // the fleet's, and not one that is made up until the store answers
	mute time.Time // when the store last did not say
	who  map[string]identity
}

type identity struct{ organization, workspace string }

func (h *hashes) init(salt []byte) {
	h.salt, h.sure, h.who = salt, len(salt) > 0, map[string]identity{}
	if !h.sure {
		h.salt = []byte(rand.Text())
	}
}

func (h *hashes) unsure() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.sure
}

// worthAsking says that a call may wait for the salt: not again so soon after
// the store has not said it.
func (h *hashes) worthAsking() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.sure && time.Since(h.mute) >= retryEvery
}

// Hash returns what stands for a credential: 32 hexadecimal digits. The first
// call may ask the store for the salt. While the store has not answered, the
// hash is of this process alone, and changes when it does.
func (s *Store) Hash(ctx context.Context, credential string) string {
	h := &s.hashes
	if h.worthAsking() {
		s.fetchSalt(ctx)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	mac := hmac.New(sha256.New, h.salt)
	mac.Write([]byte(credential))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func (s *Store) down() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server.down
}

// failing says that the store has not answered what it was asked last.
func (s *Store) failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server.down || s.server.errors > 0
}

// fetchSalt takes the store's salt, or gives it ours if it has none.
func (s *Store) fetchSalt(ctx context.Context) {
	if s.down() {
		return
	}
	s.hashes.mu.Lock()
	ours := string(s.hashes.salt)
	s.hashes.mu.Unlock()
	within, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	key := s.keys.salt()
	salt := ""
	err := s.client.SetNX(within, key, ours, 0).Err()
	if err == nil {
		salt, err = s.client.Get(within, key).Result()
	}
	if ctx.Err() != nil {
		return // the caller has left: that says nothing
	}
	if err != nil || salt == "" {
		s.hashes.mu.Lock()
		s.hashes.mute = time.Now()
		s.hashes.mu.Unlock()
		return
	}
	s.hashes.mu.Lock()
	defer s.hashes.mu.Unlock()
	s.hashes.salt, s.hashes.sure = []byte(salt), true
}

// knownFor is how long the store notes whose a credential is.
const knownFor = 30 * 24 * time.Hour

// Organization tells whose a credential is, by its hash, if any process has
// been told by an answer.
func (s *Store) Organization(ctx context.Context, hash string) (organization, workspace string, ok bool) {
	who, _ := s.whose(ctx, hash)
	return who.organization, who.workspace, who.organization != ""
}

// whose is Organization, and says whether the store has answered.
func (s *Store) whose(ctx context.Context, hash string) (who identity, answered bool) {
	s.hashes.mu.Lock()
	who, ok := s.hashes.who[hash]
	s.hashes.mu.Unlock()
	if ok {
		return who, true
	}
	if s.hashes.unsure() || s.failing() { // nobody knows of our hash; or the call would wait for the store twice
		return who, false
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	text, err := s.client.Get(ctx, s.keys.who(hash)).Result()
	if err != nil {
		if !errors.Is(err, redis.Nil) {
			s.weigh(ctx, time.Now(), hash, err)
		}
		return who, errors.Is(err, redis.Nil)
	}
	who.organization, who.workspace, _ = strings.Cut(text, " ")
	s.learnWho(hash, who)
	return who, true
}

// SetOrganization notes what an answer has told: whose a credential is.
func (s *Store) SetOrganization(ctx context.Context, hash, organization, workspace string) {
	who := identity{clean(organization), clean(workspace)}
	s.hashes.mu.Lock()
	known := s.hashes.who[hash] == who
	s.hashes.mu.Unlock()
	if known || organization == "" || s.down() {
		return
	}
	s.learnWho(hash, who)
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	// Should it fail the next process that is told tries again.
	_ = s.client.Set(ctx, s.keys.who(hash), who.organization+" "+who.workspace, knownFor).Err()
}

func (s *Store) learnWho(hash string, who identity) {
	s.hashes.mu.Lock()
	defer s.hashes.mu.Unlock()
	if len(s.hashes.who) >= maxMemos {
		clear(s.hashes.who)
	}
	s.hashes.who[hash] = who
}
