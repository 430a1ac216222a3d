/* All unix sockets, for /proc/net/unix (man 5 proc_net).
 * registry.lock is a leaf: it may be taken with any socket's lock held. */
#include <string.h>

#include "base/text.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/task/task.h"
#include "sentry/net/unix/show.h"
#include "sentry/net/unix/unix_internal.h"
#include "sentry/vfs/file.h"

#define SOCKET_ACCEPTS 0x10000 /* Linux: __SO_ACCEPTCON */
#define STATE_UNCONNECTED 1
#define STATE_CONNECTED 3

static struct {
	struct mutex lock;
	TAILQ_HEAD(, unix_sock) all;
} registry = {.lock = MUTEX_INIT, .all = TAILQ_HEAD_INITIALIZER(registry.all)};

void unix_registry_add(struct unix_sock *u)
{
	MUTEX_GUARD(&registry.lock);
	TAILQ_INSERT_TAIL(&registry.all, u, registry_link);
}

void unix_registry_remove(struct unix_sock *u)
{
	MUTEX_GUARD(&registry.lock);
	TAILQ_REMOVE(&registry.all, u, registry_link);
}

void unix_note_inode(struct socket *sock)
{
	struct unix_sock *u = sock->sk;

	if (u && sock->file)
		__atomic_store_n(&u->ino, sock->file->inode->ino, __ATOMIC_RELAXED);
}

static void show_name(struct text *out, const struct unix_addr *addr)
{
	int len = addr->len - (int)offsetof(struct sockaddr_un, sun_path);

	if (len <= 0)
		return;
	text_puts(out, " ");
	for (int i = 0; i < len; i++) {
		char c = addr->name.sun_path[i];

		if (!c && addr->name.sun_path[0])
			break; /* the end of a path */
		text_write(out, c ? &c : "@", 1);
	}
}

/* State and address are read as they are: a socket that changes meanwhile shows one or the other.
 * The address is set once and lives as long as the socket, which the registry's lock keeps. */
static void show_socket(struct text *out, struct unix_sock *u)
{
	struct unix_addr *addr = __atomic_load_n(&u->addr, __ATOMIC_ACQUIRE);
	enum unix_state state = u->state;

	text_printf(out, "%016x: %08X %08X %08X %04X %02X %5lu", 0, refcount_read(&u->refs), 0,
		    state == UNIX_LISTEN ? SOCKET_ACCEPTS : 0, u->type,
		    state == UNIX_ESTABLISHED ? STATE_CONNECTED : STATE_UNCONNECTED,
		    __atomic_load_n(&u->ino, __ATOMIC_RELAXED));
	if (addr)
		show_name(out, addr);
	text_puts(out, "\n");
}

void unix_registry_show(struct text *out)
{
	struct unix_sock *u;

	text_puts(out, "Num       RefCount Protocol Flags    Type St Inode Path\n");
	MUTEX_GUARD(&registry.lock);
	TAILQ_FOREACH (u, &registry.all, registry_link)
		if (!u->net || !current || u->net == current->net_ns)
			show_socket(out, u);
}
