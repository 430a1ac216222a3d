/* The mounts of a container, as its specification has them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/log.h"
#include "boot/loader/loader_internal.h"
#include "sentry/fs/fs.h"
#include "sentry/fs/host/host.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/vfs/mount.h"

/* The super block behind a MOUNT_HOST mount: the host's files, under an upper layer in memory if
 * the spec says so. Consumes the socket. */
static int host_super(const struct spec_mount *m, int socket, struct super_block **kept,
		      struct super_block **out)
{
	struct host_mount_arg host = {
		.gofer_sock = socket,
		.directfs = true,
		.readonly = m->overlay || (m->flags & MS_RDONLY),
		.cache = m->overlay || m->cached,
	};
	const struct fs_type *type = fs_find("host");
	struct super_block *lower;
	int ret;

	if (kept && *kept) {
		sb_get(*kept);
		*out = *kept;
		return 0;
	}
	if (socket < 0)
		return -ENODEV;
	if (!type) {
		close(socket);
		return -ENODEV;
	}
	ret = type->get_super(type, m->overlay ? MS_RDONLY : m->flags, m->source, NULL, &host,
			      &lower);
	if (!ret && kept && !m->overlay) {
		sb_get(lower);
		*kept = lower;
	}
	if (ret || !m->overlay) {
		*out = lower;
		return ret;
	}
	struct overlay_arg overlay = {.lower = lower};
	type = fs_find("overlay");
	if (!type)
		return -ENODEV;
	ret = type->get_super(type, m->flags, "overlay", NULL, &overlay, out);
	sb_put(lower);
	return ret;
}

void container_forget_lowers(struct container *c)
{
	unsigned n = c->lowers ? c->loader->args.spec->nmounts : 0;

	for (unsigned i = 0; i < n; i++)
		if (c->lowers[i])
			sb_put(c->lowers[i]);
	free(c->lowers);
	c->lowers = NULL;
}

static int fail(struct control_error *err, const char *what, const char *name, int ret)
{
	return control_fail(err, ret, "%s %s: %s", what, name, strerror(-ret));
}

/* --- shared by the containers of the sandbox -------------------------------------------------- */

struct shared_mount {
	LIST_ENTRY(shared_mount) link;
	char *name;
	struct super_block *sb;
};

/* The one of that name, made by whoever comes first; a reference. */
static int shared_super(struct loader *l, const struct spec_mount *m, struct super_block **out)
{
	const struct fs_type *type = fs_find(m->fstype);
	struct shared_mount *s;
	int ret = -ENOMEM;
	MUTEX_GUARD(&l->mounts_lock);

	LIST_FOREACH (s, &l->shared_mounts, link)
		if (!strcmp(s->name, m->shared)) {
			sb_get(s->sb);
			*out = s->sb;
			return 0;
		}
	s = calloc(1, sizeof(*s));
	if (s && (s->name = strdup(m->shared)))
		ret = !type ? -ENODEV
			    : type->get_super(type, 0, m->source, m->options, NULL, &s->sb);
	if (ret) {
		if (s)
			free(s->name);
		free(s);
		return ret;
	}
	LIST_INSERT_HEAD(&l->shared_mounts, s, link);
	sb_get(s->sb);
	*out = s->sb;
	return 0;
}

static int add_shared(struct loader *l, struct mnt_ns *ns, const struct spec_mount *m)
{
	struct super_block *sb = NULL;
	int ret = shared_super(l, m, &sb);

	if (ret)
		return ret;
	ret = mnt_ns_mount_super(ns, m->target, sb, m->flags, true);
	if (ret)
		sb_put(sb);
	return ret;
}

/* --- all of them ------------------------------------------------------------------------------ */

static int add_mount(struct loader *l, struct mnt_ns *ns, const struct spec_mount *m, int socket,
		     struct super_block **kept, struct control_error *err)
{
	struct super_block *sb;
	int ret;

	if (m->kind == MOUNT_HOST) {
		ret = host_super(m, socket, kept, &sb);
		if (ret && m->optional) {
			log_info("without %s: %s", m->source, strerror(-ret));
			return 0;
		}
		if (ret)
			return fail(err, "cannot open volume", m->source, ret);
		ret = mnt_ns_mount_super(ns, m->target, sb, m->flags, true);
		if (ret)
			sb_put(sb);
	} else if (m->shared) {
		ret = add_shared(l, ns, m);
	} else {
		ret = mnt_ns_mount(ns, m->target, m->fstype, m->source, m->flags, m->options, NULL,
				   true);
	}
	if (ret == -ENODEV && m->optional) {
		log_info("no file system %s for %s", m->fstype, m->target);
		return 0;
	}
	return ret ? fail(err, "cannot mount", m->target, ret) : 0;
}

/* Masked and read-only paths, and the root's own flag: after all mounts are there. */
static int restrict_paths(struct mnt_ns *ns, const struct container_spec *spec,
			  struct control_error *err)
{
	int ret;

	for (char **p = spec->masked_paths; p && *p; p++) {
		ret = mnt_ns_mask(ns, *p);
		if (ret && ret != -ENOENT && ret != -ENOTDIR)
			return fail(err, "cannot mask", *p, ret);
	}
	for (char **p = spec->readonly_paths; p && *p; p++) {
		ret = mnt_ns_bind(ns, *p, *p, MS_RDONLY, true);
		if (ret && ret != -ENOENT && ret != -ENOTDIR)
			return fail(err, "cannot make read-only", *p, ret);
	}
	ret = spec->root_readonly ? mnt_ns_remount_root(ns, MS_RDONLY) : 0;
	return ret ? fail(err, "cannot make read-only", "/", ret) : 0;
}

/* The root: of the host's, or in memory. */
static int root_super(const struct spec_mount *m, int socket, struct super_block **kept,
		      struct super_block **out)
{
	const struct fs_type *type;

	if (m->kind == MOUNT_HOST)
		return host_super(m, socket, kept, out);
	type = fs_find(m->fstype);
	return type ? type->get_super(type, 0, m->source, m->options, NULL, out) : -ENODEV;
}

int container_build_mounts(struct container *c, const struct container_spec *spec,
			   const int *sockets, struct mnt_ns **out, struct control_error *err)
{
	struct super_block *sb;
	struct mnt_ns *ns = NULL;
	unsigned used = spec->mounts[0].kind == MOUNT_HOST;
	int ret = root_super(&spec->mounts[0], sockets && used ? sockets[0] : -1, c->lowers, &sb);

	if (ret)
		ret = fail(err, "cannot open the root file system", spec->mounts[0].source, ret);
	else if ((ret = mnt_ns_create(sb, spec->mounts[0].flags, &ns)))
		fail(err, "cannot mount", "/", ret);
	for (unsigned i = 1; i < spec->nmounts; i++) {
		const struct spec_mount *m = &spec->mounts[i];
		int socket = sockets && m->kind == MOUNT_HOST ? sockets[used++] : -1;

		if (!ret)
			ret = add_mount(c->loader, ns, m, socket, c->lowers ? &c->lowers[i] : NULL,
					err);
		else if (socket >= 0)
			close(socket);
	}
	/* If it cannot be made, the process says that there is none. */
	if (!ret && spec->process.cwd)
		mnt_ns_make_dir(ns, spec->process.cwd);
	if (!ret)
		ret = restrict_paths(ns, spec, err);
	if (ret && ns)
		mnt_ns_put(ns);
	if (!ret)
		*out = ns;
	return ret;
}
