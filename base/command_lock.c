#include "base/command_lock.h"

struct command_lock_hooks command_lock_hooks;

void command_wait_begin(void)
{
	if (command_lock_hooks.begin)
		command_lock_hooks.begin();
}

void command_wait_end(void)
{
	if (command_lock_hooks.end)
		command_lock_hooks.end();
}

void command_lock_contended(struct mutex *m, const char *site)
{
	command_wait_begin();
	mutex_lock_at(m, site);
	command_wait_end();
}

void command_read_lock_contended(struct rwlock *l, const char *site)
{
	command_wait_begin();
	read_lock_at(l, site);
	command_wait_end();
}

void command_write_lock_contended(struct rwlock *l, const char *site)
{
	command_wait_begin();
	write_lock_at(l, site);
	command_wait_end();
}
