/* /proc/PID/mounts and mountinfo (man 5 proc). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/mount/mount_ops.h"
#include "sentry/vfs/walk/dcache.h"
#include "sentry/vfs/walk/dpath.h"

/* Octal escapes as fs/proc_namespace.c's mangle: space, tab, newline, backslash, '#'. */
static void put_escaped(FILE *out, const char *s)
{
	for (; *s; s++)
		if (strchr(" \t\n\\#", *s))
			fprintf(out, "\\%03o", (unsigned char)*s);
		else
			fputc(*s, out);
}

static void put_mount_flags(FILE *out, unsigned long flags)
{
	static const struct {
		unsigned long flag;
		const char *text;
	} names[] = {
		{MS_NOSUID, ",nosuid"},		{MS_NODEV, ",nodev"},
		{MS_NOEXEC, ",noexec"},		{MS_NOATIME, ",noatime"},
		{MS_NODIRATIME, ",nodiratime"}, {MS_RELATIME, ",relatime"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (flags & names[i].flag)
			fputs(names[i].text, out);
}

static void put_options(FILE *out, struct super_block *sb)
{
	char buf[4096] = "";

	if (sb->ops && sb->ops->show_options)
		sb->ops->show_options(sb, buf, sizeof(buf));
	fputs(buf, out);
}

static void show_mounts(FILE *out, struct mount *m, const char *where)
{
	unsigned long flags = atomic_load(&m->flags);

	put_escaped(out, m->sb->source ? m->sb->source : "none");
	fputc(' ', out);
	put_escaped(out, where);
	fprintf(out, " %s %s", m->sb->type->name, (flags | m->sb->flags) & MS_RDONLY ? "ro" : "rw");
	put_mount_flags(out, flags);
	put_options(out, m->sb);
	fputs(" 0 0\n", out);
}

static void show_mountinfo(FILE *out, struct mount *m, const char *where)
{
	unsigned long flags = atomic_load(&m->flags);
	struct path inside = {m, m->root}, top = {m, m->sb->root};
	char *__free name = NULL;
	char buf[8192], *root = NULL;
	bool reached;

	/* The root of the mount within its file system. */
	if (m->root == m->sb->root) {
		root = NULL;
	} else if (m->sb->d_ops && m->sb->d_ops->dname) {
		root = name = m->sb->d_ops->dname(m->root);
	} else {
		struct mount whole = {.root = m->sb->root};

		inside.mnt = top.mnt = &whole;
		if (d_path_text(&inside, &top, buf, sizeof(buf), &root, &reached))
			root = NULL;
	}
	fprintf(out, "%d %d %u:%u ", m->id, m->parent ? m->parent->id : m->id,
		(unsigned)(m->sb->dev >> 8) & 0xfff,
		(unsigned)((m->sb->dev & 0xff) | ((m->sb->dev >> 12) & ~0xffU)));
	put_escaped(out, root ? root : "/");
	fputc(' ', out);
	put_escaped(out, where);
	fprintf(out, " %s", flags & MS_RDONLY ? "ro" : "rw");
	put_mount_flags(out, flags);
	if (m->peer_group)
		fprintf(out, " shared:%d", m->peer_group);
	if (m->master_group)
		fprintf(out, " master:%d", m->master_group);
	if (m->unbindable)
		fputs(" unbindable", out);
	fprintf(out, " - %s ", m->sb->type->name);
	put_escaped(out, m->sb->source ? m->sb->source : "none");
	fprintf(out, " %s", m->sb->flags & MS_RDONLY ? "ro" : "rw");
	put_options(out, m->sb);
	fputc('\n', out);
}

static void show_mountstats(FILE *out, struct mount *m, const char *where)
{
	fputs("device ", out);
	put_escaped(out, m->sb->source ? m->sb->source : "none");
	fputs(" mounted on ", out);
	put_escaped(out, where);
	fprintf(out, " with fstype %s\n", m->sb->type->name);
}

char *mnt_ns_show(struct mnt_ns *ns, const struct path *root, int kind)
{
	static void (*const shows[])(FILE *, struct mount *,
				     const char *) = {show_mounts, show_mountinfo, show_mountstats};
	char *text = NULL, buf[8192], *where;
	size_t size = 0;
	struct mount *m;
	bool reached;
	FILE *out;

	if (kind < 0 || kind >= (int)ARRAY_SIZE(shows))
		return NULL;
	out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	read_lock(&mount_lock);
	for (m = ns->root; m; m = mount_next(m, ns->root)) {
		struct path p = {m, m->root};

		if (d_path_text(&p, root, buf, sizeof(buf), &where, &reached) || !reached)
			continue;
		shows[kind](out, m, where);
	}
	read_unlock(&mount_lock);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}
