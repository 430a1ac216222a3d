/* statmount, listmount (man 2): mounts by numbers that are never used again. */
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/mount/mount_ops.h"
#include "sentry/vfs/walk/dcache.h"
#include "sentry/vfs/walk/dpath.h"

/* The kernel's own headers have these only since 6.8. */
struct id_request {
	uint32_t size, spare;
	uint64_t mnt_id, param, mnt_ns_id;
};
#define ID_REQUEST_V0 24
#define MOUNT_ROOT_ID UINT64_MAX
#define LIST_REVERSE 1
#define LIST_MAX 1000000
/* Linux keeps them apart from the numbers of mountinfo. */
#define UNIQUE_OFFSET (1ULL << 31)

struct stat_mount {
	uint32_t size, mnt_opts;
	uint64_t mask;
	uint32_t sb_dev_major, sb_dev_minor;
	uint64_t sb_magic;
	uint32_t sb_flags, fs_type;
	uint64_t mnt_id, mnt_parent_id;
	uint32_t mnt_id_old, mnt_parent_id_old;
	uint64_t mnt_attr, mnt_propagation, mnt_peer_group, mnt_master, propagate_from;
	uint32_t mnt_root, mnt_point;
	uint64_t mnt_ns_id;
	uint32_t fs_subtype, sb_source, opt_num, opt_array, opt_sec_num, opt_sec_array;
	uint64_t supported_mask;
	uint64_t spare[45];
};
enum {
	SB_BASIC = 0x1,
	MNT_BASIC = 0x2,
	PROPAGATE_FROM = 0x4,
	MNT_ROOT = 0x8,
	MNT_POINT = 0x10,
	FS_TYPE = 0x20,
	MNT_NS_ID = 0x40,
	MNT_OPTS = 0x80,
	SB_SOURCE = 0x200,
	SUPPORTED = 0x1000,
};
#define ALL                                                                                        \
	(SB_BASIC | MNT_BASIC | PROPAGATE_FROM | MNT_ROOT | MNT_POINT | FS_TYPE | MNT_NS_ID |      \
	 MNT_OPTS | SB_SOURCE | SUPPORTED)

static int read_request(struct id_request *r, uaddr_t ureq)
{
	char buf[4096];
	uint32_t size;

	memset(r, 0, sizeof(*r));
	if (get_user(&size, ureq))
		return -EFAULT;
	if (size < ID_REQUEST_V0)
		return -EINVAL;
	if (size > sizeof(buf))
		return -E2BIG;
	if (copy_from_user(buf, ureq, size))
		return -EFAULT;
	memcpy(r, buf, MIN(size, sizeof(*r)));
	for (size_t i = sizeof(*r); i < size; i++)
		if (buf[i])
			return -E2BIG;
	return r->spare || r->mnt_id <= UNIQUE_OFFSET ? -EINVAL : 0;
}

/* mount_lock held. Only those of the caller's own namespace can be asked for. */
static struct mount *find(const struct id_request *r)
{
	struct mnt_ns *ns = current_mnt_ns();
	struct mount *m;

	if (r->mnt_ns_id && r->mnt_ns_id != ns->inum)
		return NULL;
	if (r->mnt_id == MOUNT_ROOT_ID)
		return ns->root;
	TAILQ_FOREACH (m, &ns->mounts, ns_link)
		if (mount_unique_id(m) == r->mnt_id)
			return m;
	return NULL;
}

static bool below(struct mount *m, struct dentry *d, const struct path *root)
{
	struct path p = {m, d};
	int slot = dcache_read_lock();
	bool yes = path_is_under(&p, root);

	dcache_read_unlock(slot);
	return yes;
}

/* What is not below the caller's root is for those with the capability over the namespace. */
static bool may_see(struct mount *m, const struct path *root)
{
	return below(m, m->root, root) || may_mount();
}

/* --- statmount -------------------------------------------------------------------------------- */

struct answer {
	struct stat_mount s;
	FILE *strings;
};

static uint32_t put_string(struct answer *a, uint64_t what, const char *text)
{
	uint32_t at = (uint32_t)ftell(a->strings);

	fwrite(text, 1, strlen(text) + 1, a->strings);
	a->s.mask |= what;
	return at;
}

static uint64_t attributes(unsigned long flags)
{
	uint64_t attr = 0;

	attr |= flags & MS_RDONLY ? MOUNT_ATTR_RDONLY : 0;
	attr |= flags & MS_NOSUID ? MOUNT_ATTR_NOSUID : 0;
	attr |= flags & MS_NODEV ? MOUNT_ATTR_NODEV : 0;
	attr |= flags & MS_NOEXEC ? MOUNT_ATTR_NOEXEC : 0;
	attr |= flags & MS_NODIRATIME ? MOUNT_ATTR_NODIRATIME : 0;
	if (flags & MS_NOATIME)
		attr |= MOUNT_ATTR_NOATIME;
	else if (!(flags & MS_RELATIME))
		attr |= MOUNT_ATTR_STRICTATIME;
	return attr;
}

static void put_numbers(struct stat_mount *s, struct mount *m, uint64_t want)
{
	struct mount *parent = m->parent ? m->parent : m;

	if (want & SB_BASIC) {
		s->sb_dev_major = (uint32_t)(m->sb->dev >> 8) & 0xfff;
		s->sb_dev_minor = (uint32_t)((m->sb->dev & 0xff) | ((m->sb->dev >> 12) & 0xfff00));
		s->sb_magic = m->sb->magic;
		s->sb_flags = m->sb->flags & MS_RDONLY;
	}
	if (want & MNT_BASIC) {
		s->mnt_id = mount_unique_id(m);
		s->mnt_parent_id = mount_unique_id(parent);
		s->mnt_id_old = (uint32_t)m->id;
		s->mnt_parent_id_old = (uint32_t)parent->id;
		s->mnt_attr = attributes(atomic_load(&m->flags));
		s->mnt_propagation |= m->peer_group ? MS_SHARED : 0;
		s->mnt_propagation |= m->master_group ? MS_SLAVE : 0;
		s->mnt_propagation |= m->unbindable ? MS_UNBINDABLE : 0;
		if (!s->mnt_propagation)
			s->mnt_propagation = MS_PRIVATE;
		s->mnt_peer_group = (uint64_t)m->peer_group;
		s->mnt_master = (uint64_t)m->master_group;
	}
	if (want & MNT_NS_ID)
		s->mnt_ns_id = m->ns->inum;
	if (want & SUPPORTED)
		s->supported_mask = ALL;
	s->mask |= want & (SB_BASIC | MNT_BASIC | MNT_NS_ID | SUPPORTED);
}

static int put_strings(struct answer *a, struct mount *m, const struct path *root, uint64_t want)
{
	struct path here = {m, m->root};
	char buf[8192], *text;
	bool reached;
	int err = 0;

	if (want & FS_TYPE)
		a->s.fs_type = put_string(a, FS_TYPE, m->sb->type->name);
	if (want & MNT_ROOT) {
		struct mount whole = {.root = m->sb->root};
		struct path inside = {&whole, m->root}, top = {&whole, m->sb->root};

		err = d_path_text(&inside, &top, buf, sizeof(buf), &text, &reached);
		if (!err)
			a->s.mnt_root = put_string(a, MNT_ROOT, text);
	}
	if (!err && (want & MNT_POINT)) {
		err = d_path_text(&here, root, buf, sizeof(buf), &text, &reached);
		if (!err)
			a->s.mnt_point = put_string(a, MNT_POINT, reached ? text : "");
	}
	if (!err && (want & MNT_OPTS) && m->sb->ops && m->sb->ops->show_options) {
		buf[0] = 0;
		m->sb->ops->show_options(m->sb, buf, sizeof(buf));
		if (buf[0])
			a->s.mnt_opts = put_string(a, MNT_OPTS, buf + (buf[0] == ','));
	}
	if (!err && (want & SB_SOURCE) && m->sb->source)
		a->s.sb_source = put_string(a, SB_SOURCE, m->sb->source);
	return err;
}

static int describe(struct answer *a, const struct id_request *r, const struct path *root)
{
	struct mount *m;
	READ_GUARD(&mount_lock);

	m = r->mnt_id == MOUNT_ROOT_ID ? NULL : find(r);
	if (!m)
		return -ENOENT;
	if (!may_see(m, root))
		return -EPERM;
	put_numbers(&a->s, m, r->param);
	return put_strings(a, m, root, r->param);
}

SYSCALL_DEFINE4(statmount, uaddr_t, ureq, uaddr_t, ubuf, size_t, size, unsigned, flags)
{
	struct path root __put_path = {0};
	char *strings __free = NULL;
	struct answer a = {0};
	struct id_request r;
	size_t len = 0;
	int err;

	if (flags)
		return -EINVAL;
	err = read_request(&r, ureq);
	if (err)
		return err;
	a.strings = open_memstream(&strings, &len);
	if (!a.strings)
		return -ENOMEM;
	fs_get_root(current_fs(), &root);
	err = describe(&a, &r, &root);
	if (fclose(a.strings) && !err)
		err = -ENOMEM;
	if (err)
		return err;
	/* A caller who knows only the first fields gets those. */
	if (len && size < sizeof(a.s) + len)
		return -EOVERFLOW;
	size = MIN(size, sizeof(a.s));
	a.s.size = (uint32_t)(size + len);
	if (copy_to_user(ubuf, &a.s, size) || copy_to_user(ubuf + size, strings, len))
		return -EFAULT;
	return 0;
}

/* --- listmount -------------------------------------------------------------------------------- */

static int compare_ids(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return a < b ? -1 : a > b;
}

/* The numbers of all mounts below the one that is asked for, in order, malloc'd. */
static int collect(const struct id_request *r, const struct path *root, uint64_t **out, size_t *n)
{
	struct path top;
	struct mount *m;
	READ_GUARD(&mount_lock);

	m = find(r);
	if (!m)
		return -ENOENT;
	top = r->mnt_id == MOUNT_ROOT_ID ? *root : (struct path){m, m->root};
	if (!may_see(top.mnt, root))
		return -EPERM;
	*out = malloc((current_mnt_ns()->count + 1) * sizeof(**out));
	if (!*out)
		return -ENOMEM;
	TAILQ_FOREACH (m, &current_mnt_ns()->mounts, ns_link)
		if (mount_unique_id(m) != r->mnt_id && below(m, m->root, &top))
			(*out)[(*n)++] = mount_unique_id(m);
	qsort(*out, *n, sizeof(**out), compare_ids);
	return 0;
}

SYSCALL_DEFINE4(listmount, uaddr_t, ureq, uaddr_t, uids, size_t, max, unsigned, flags)
{
	struct path root __put_path = {0};
	uint64_t *ids __free = NULL;
	struct id_request r;
	size_t n = 0, done = 0;
	int err;

	if (flags & ~(unsigned)LIST_REVERSE)
		return -EINVAL;
	if (max > LIST_MAX)
		return -EOVERFLOW;
	err = read_request(&r, ureq);
	if (err)
		return err;
	/* param: the last one of the call before. */
	if (r.param && r.param <= UNIQUE_OFFSET)
		return -EINVAL;
	fs_get_root(current_fs(), &root);
	err = collect(&r, &root, &ids, &n);
	if (err)
		return err;
	for (size_t i = 0; i < n && done < max; i++) {
		uint64_t id = ids[flags & LIST_REVERSE ? n - 1 - i : i];

		if (r.param && (flags & LIST_REVERSE ? id >= r.param : id <= r.param))
			continue;
		if (put_user(uids + done * sizeof(id), id))
			return -EFAULT;
		done++;
	}
	return (long)done;
}
