package driver

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// RoleEnv is the environment variable that sets the role of a whole process.
const RoleEnv = "SQLITE_MEM_ROLE"

var processRole struct {
	mu   sync.Mutex
	role Role // guarded by mu
}

// SetRole sets the role for all databases that this process opens from now on. It wins
// over data source names and the environment; "" takes it back. A program whose command
// line says whether it is a server or a tool calls it before it opens anything. An unknown
// role is an error.
func SetRole(role Role) error {
	if role != "" && !role.valid() {
		return paramErr("role", string(role), "want auto, server or tool")
	}
	processRole.mu.Lock()
	processRole.role = role
	processRole.mu.Unlock()
	return nil
}

// roleOf returns the role of cfg in this process.
func roleOf(cfg *Config) (Role, error) {
	processRole.mu.Lock()
	role := processRole.role
	processRole.mu.Unlock()
	if role != "" {
		return role, nil
	}
	if env := os.Getenv(RoleEnv); env != "" {
		role = Role(strings.ToLower(env))
		if !role.valid() {
			return "", fmt.Errorf("sqlite-mem: environment variable %s=%s: want auto, server or tool", RoleEnv, env)
		}
		return role, nil
	}
	if cfg.Role != "" {
		return cfg.Role, nil
	}
	return RoleAuto, nil
}
