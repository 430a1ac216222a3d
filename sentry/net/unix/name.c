/* Names of unix sockets: pathnames, abstract names, autobind. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "sentry/kernel/task/task.h"
#include "sentry/net/unix/unix_internal.h"
#include "sentry/vfs/name/namei.h"

#define NAME_BUCKETS 256
#define PATH_OFFSET ((int)offsetof(struct sockaddr_un, sun_path))

/* Guards every table, unix_addr->hashed and inode->unix_socket. */
static struct mutex name_lock = MUTEX_INIT;

struct name_table {
	LIST_HEAD(, unix_addr) buckets[NAME_BUCKETS];
};
static struct name_table initial_table; /* of tasks without a namespace of their own */

struct unix_addr *unix_addr_get(struct unix_addr *a)
{
	refcount_inc(&a->refs);
	return a;
}

void unix_addr_put(struct unix_addr *a)
{
	if (refcount_dec(&a->refs))
		free(a);
}

/* name_lock held. NULL: no memory. */
static struct name_table *table_of(struct unix_sock *u)
{
	if (!u->net)
		return &initial_table;
	if (!u->net->unix_sockets) {
		u->net->unix_sockets = calloc(1, sizeof(struct name_table));
		u->net->destroy = socket_ns_destroy;
	}
	return u->net->unix_sockets;
}

void unix_names_destroy(struct net_ns *ns)
{
	/* Every socket of it is gone, so the table is empty. */
	free(ns->unix_sockets);
	ns->unix_sockets = NULL;
}

static unsigned hash_name(const struct sockaddr_un *name, int len, int type)
{
	uint32_t h = 2166136261U + (unsigned)type;

	for (int i = 0; i < len - PATH_OFFSET; i++)
		h = (h ^ (unsigned char)name->sun_path[i]) * 16777619U;
	return h % NAME_BUCKETS;
}

/* name_lock held. */
static struct unix_sock *abstract_find(struct name_table *table, const struct sockaddr_un *name,
				       int len, int type)
{
	struct unix_addr *a;

	LIST_FOREACH (a, &table->buckets[hash_name(name, len, type)], link)
		if (a->len == len && a->owner->type == type && !memcmp(&a->name, name, (size_t)len))
			return a->owner;
	return NULL;
}

static struct unix_addr *addr_alloc(const struct sockaddr_un *name, int len)
{
	struct unix_addr *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	refcount_init(&a->refs);
	a->len = len;
	memcpy(&a->name, name, (size_t)len);
	a->name.sun_family = AF_UNIX;
	return a;
}

/* Gives u its name, once. Consumes a; -EINVAL if it has one already, -EADDRINUSE. */
static int publish_abstract(struct unix_sock *u, struct unix_addr *a)
{
	struct name_table *table;
	int ret = 0;

	mutex_lock(&u->lock);
	mutex_lock(&name_lock);
	table = table_of(u);
	if (!table)
		ret = -ENOMEM;
	else if (u->addr || u->dead)
		ret = -EINVAL;
	else if (abstract_find(table, &a->name, a->len, u->type))
		ret = -EADDRINUSE;
	if (!ret) {
		a->owner = u;
		a->hashed = true;
		LIST_INSERT_HEAD(&table->buckets[hash_name(&a->name, a->len, u->type)], a, link);
		u->addr = a;
	}
	mutex_unlock(&name_lock);
	mutex_unlock(&u->lock);
	if (ret)
		unix_addr_put(a);
	return ret;
}

static unsigned random_number(void)
{
	unsigned r = 1;

	return getrandom(&r, sizeof(r), GRND_NONBLOCK) == sizeof(r) ? r : 1;
}

int unix_autobind(struct unix_sock *u)
{
	static _Atomic unsigned next;

	/* Where the numbers begin is chance, as in Linux; that they do not repeat soon is what
	 * programs rely on. */
	if (!next)
		next = random_number();
	for (unsigned tries = 0; tries < 0x100000; tries++) {
		struct sockaddr_un name = {.sun_family = AF_UNIX};
		char digits[8];
		struct unix_addr *a;
		int ret;

		snprintf(digits, sizeof(digits), "%05x", next++ & 0xfffff);
		memcpy(name.sun_path + 1, digits, 5);
		a = addr_alloc(&name, PATH_OFFSET + 6);
		if (!a)
			return -ENOMEM;
		ret = publish_abstract(u, a);
		if (ret != -EADDRINUSE)
			return ret == -EINVAL ? 0 : ret; /* bound meanwhile: fine */
	}
	return -ENOSPC;
}

/* A path name as a string; sun_path need not end with NUL. */
static void path_string(const struct sockaddr_un *name, int len,
			char out[sizeof(name->sun_path) + 1])
{
	int n = MIN(len - PATH_OFFSET, (int)sizeof(name->sun_path));

	memcpy(out, name->sun_path, (size_t)n);
	out[n] = 0;
}

static int bind_path(struct unix_sock *u, const struct sockaddr_un *name, int len)
{
	char string[sizeof(name->sun_path) + 1];
	struct sockaddr_un whole = {.sun_family = AF_UNIX};
	struct path path;
	struct unix_addr *a;
	int ret;

	path_string(name, len, string);
	memcpy(whole.sun_path, string, strnlen(string, sizeof(whole.sun_path)));
	/* As Linux: the length counts one NUL, even where there is no room for it in the struct. */
	a = addr_alloc(&whole, PATH_OFFSET + (int)strnlen(string, sizeof(whole.sun_path) - 1) + 1);
	if (!a)
		return -ENOMEM;
	ret = vfs_bind_socket(string, 0777, &path);
	if (ret) {
		unix_addr_put(a);
		return ret == -EEXIST ? -EADDRINUSE : ret;
	}
	mutex_lock(&u->lock);
	if (u->addr || u->dead) {
		mutex_unlock(&u->lock);
		unix_addr_put(a);
		path_put(&path);
		return -EINVAL;
	}
	a->owner = u;
	u->addr = a;
	u->path = path;
	u->inode = path.dentry->inode;
	mutex_lock(&name_lock);
	u->inode->unix_socket = u;
	mutex_unlock(&name_lock);
	mutex_unlock(&u->lock);
	return 0;
}

static int check_name(const struct sockaddr_storage *addr, int len)
{
	if (len <= PATH_OFFSET || len > (int)sizeof(struct sockaddr_un) ||
	    addr->ss_family != AF_UNIX)
		return -EINVAL;
	return 0;
}

int unix_bind(struct socket *sock, const struct sockaddr_storage *addr, int len)
{
	const struct sockaddr_un *name = (const struct sockaddr_un *)(const void *)addr;
	struct unix_sock *u = sock->sk;
	struct unix_addr *a;
	int ret;

	unix_note_inode(sock);
	if (len == PATH_OFFSET && addr->ss_family == AF_UNIX)
		return u->addr ? 0 : unix_autobind(u);
	ret = check_name(addr, len);
	if (ret)
		return ret;
	if (u->addr)
		return -EINVAL;
	if (name->sun_path[0])
		return bind_path(u, name, len);
	a = addr_alloc(name, len);
	return a ? publish_abstract(u, a) : -ENOMEM;
}

void unix_unname(struct unix_sock *u)
{
	MUTEX_GUARD(&name_lock);
	if (u->addr && u->addr->hashed && u->addr->owner == u) {
		LIST_REMOVE(u->addr, link);
		u->addr->hashed = false;
	}
	if (u->inode && u->inode->unix_socket == u)
		u->inode->unix_socket = NULL;
	u->inode = NULL;
}

static int find_path(const struct sockaddr_un *name, int len, int type, struct unix_sock **out)
{
	char string[sizeof(name->sun_path) + 1];
	struct path path = {0};
	struct inode *inode;
	int ret;

	path_string(name, len, string);
	ret = path_lookupat(AT_FDCWD, string, LOOKUP_FOLLOW, &path);
	if (ret)
		return ret;
	inode = path.dentry->inode;
	ret = inode_permission(inode, MAY_WRITE);
	if (!ret && !S_ISSOCK(inode->mode))
		ret = -ECONNREFUSED;
	if (!ret) {
		/* Whoever is found here has not been released yet: its reference cannot be the
		 * last one. */
		mutex_lock(&name_lock);
		if (inode->unix_socket)
			*out = unix_get(inode->unix_socket);
		else
			ret = -ECONNREFUSED;
		mutex_unlock(&name_lock);
	}
	path_put(&path);
	if (!ret && (*out)->type != type) {
		unix_put(*out);
		ret = -EPROTOTYPE;
	}
	return ret;
}

int unix_find(struct unix_sock *u, const struct sockaddr_storage *addr, int len, int type,
	      struct unix_sock **out)
{
	const struct sockaddr_un *name = (const struct sockaddr_un *)(const void *)addr;
	struct name_table *table;
	int ret = check_name(addr, len);

	if (ret)
		return ret;
	if (name->sun_path[0])
		return find_path(name, len, type, out);
	MUTEX_GUARD(&name_lock);
	table = table_of(u);
	*out = table ? abstract_find(table, name, len, type) : NULL;
	if (!*out)
		return -ECONNREFUSED;
	unix_get(*out);
	return 0;
}

int unix_getname(struct socket *sock, struct sockaddr_storage *addr, bool peer)
{
	struct unix_sock *u = sock->sk, *of = u;
	int len = PATH_OFFSET;

	if (peer) {
		of = unix_peer_get(u);
		if (!of)
			return -ENOTCONN;
	}
	memset(addr, 0, sizeof(*addr));
	addr->ss_family = AF_UNIX;
	mutex_lock(&of->lock);
	if (of->addr) {
		len = of->addr->len;
		memcpy(addr, &of->addr->name, (size_t)len);
	}
	mutex_unlock(&of->lock);
	if (peer)
		unix_put(of);
	return len;
}

void unix_name_to_msg(struct socket_msg *msg, struct unix_sock *sender)
{
	MUTEX_GUARD(&sender->lock);

	msg->namelen = 0;
	if (!sender->addr)
		return;
	memcpy(&msg->name, &sender->addr->name, (size_t)sender->addr->len);
	msg->namelen = sender->addr->len;
}
