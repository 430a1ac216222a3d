#include "sentry/vfs/mount/fs_context.h"

#include <stdio.h>
#include <string.h>

#include "sentry/vfs/mount/mount_ops.h"

#define OPTIONS_MAX 4096

enum phase { CREATE_PARAMS, AWAITING_MOUNT, RECONF_PARAMS, FAILED };

struct fs_context {
	struct mutex lock;
	const struct fs_type *type;
	enum phase phase;
	unsigned long flags;	/* MS_RDONLY */
	char *source;		/* owned, or NULL */
	char *options;		/* as mount(2) has them, owned; NULL: none */
	struct super_block *sb; /* counted; NULL: not made yet */
};

static void fc_release(struct file *file)
{
	struct fs_context *fc = file->private;

	if (fc->sb)
		sb_put(fc->sb);
	free(fc->source);
	free(fc->options);
	mutex_destroy(&fc->lock);
	free(fc);
}

/* Messages of the file system for who reads them: there are none. */
static ssize_t fc_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	return -ENODATA;
}

static const struct file_operations fc_fops = {.release = fc_release, .read = fc_read};

int fs_context_file(const struct fs_type *type, struct super_block *sb, struct file **out)
{
	struct fs_context *fc = calloc(1, sizeof(*fc));
	int err;

	if (!fc)
		return -ENOMEM;
	mutex_init(&fc->lock);
	fc->type = type;
	err = anon_file_create("anon_inode:[fscontext]", S_IFREG | 0600, &fc_fops, fc, O_RDWR, out);
	if (err) {
		mutex_destroy(&fc->lock);
		free(fc);
		return err;
	}
	if (sb) {
		sb_get(sb);
		fc->sb = sb;
		fc->flags = sb->flags & MS_RDONLY;
		fc->phase = RECONF_PARAMS;
	}
	return 0;
}

struct fs_context *fs_context_of(const struct file *file)
{
	return file->ops == &fc_fops ? file->private : NULL;
}

/* ro and rw are for all file systems; what says nothing to ours is taken. */
static bool set_common(struct fs_context *fc, const char *key)
{
	static const char *const ignored[] = {"sync",	    "async", "dirsync", "lazytime",
					      "nolazytime", "mand",  "nomand",	"silent"};

	if (!strcmp(key, "ro")) {
		fc->flags |= MS_RDONLY;
		return true;
	}
	if (!strcmp(key, "rw")) {
		fc->flags &= ~(unsigned long)MS_RDONLY;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		if (!strcmp(key, ignored[i]))
			return true;
	return false;
}

static int set_source(struct fs_context *fc, const char *value)
{
	if (fc->source || !value)
		return -EINVAL;
	fc->source = strdup(value);
	return fc->source ? 0 : -ENOMEM;
}

static int append(struct fs_context *fc, const char *key, const char *value)
{
	const char *old = fc->options ? fc->options : "";
	char *all;

	if (strlen(old) + strlen(key) + (value ? strlen(value) : 0) + 3 > OPTIONS_MAX)
		return -EINVAL;
	if (asprintf(&all, "%s%s%s%s%s", old, *old ? "," : "", key, value ? "=" : "",
		     value ? value : "") < 0)
		return -ENOMEM;
	free(fc->options);
	fc->options = all;
	return 0;
}

int fs_context_set(struct fs_context *fc, const char *key, const char *value)
{
	MUTEX_GUARD(&fc->lock);

	if (fc->phase != CREATE_PARAMS && fc->phase != RECONF_PARAMS)
		return -EBUSY;
	if (!value && set_common(fc, key))
		return 0;
	if (!strcmp(key, "source"))
		return set_source(fc, value);
	if (!*key || strpbrk(key, ",=") || (value && strchr(value, ',')))
		return -EINVAL;
	return append(fc, key, value);
}

static void forget_options(struct fs_context *fc)
{
	free(fc->options);
	fc->options = NULL;
}

static int make_super(struct fs_context *fc)
{
	const struct fs_type *type = fc->type;
	int err;

	if (!type->guest_mount || !vfs_ns_capable(fs_type_owner(type), CAP_SYS_ADMIN))
		return -EPERM;
	err = type->get_super(type, fc->flags, fc->source, fc->options, NULL, &fc->sb);
	if (err) {
		fc->sb = NULL;
		return err;
	}
	if (!fc->sb->source)
		fc->sb->source = strdup(fc->source ? fc->source : "none");
	return 0;
}

int fs_context_create(struct fs_context *fc)
{
	int err;
	MUTEX_GUARD(&fc->lock);

	if (fc->phase != CREATE_PARAMS)
		return -EBUSY;
	err = make_super(fc);
	fc->phase = err ? FAILED : AWAITING_MOUNT;
	return err;
}

int fs_context_reconfigure(struct fs_context *fc)
{
	int err;
	MUTEX_GUARD(&fc->lock);

	if (fc->phase != RECONF_PARAMS)
		return -EBUSY;
	err = mount_reconfigure(fc->sb, fc->flags, fc->options);
	if (err == -EPERM)
		return err;
	if (err)
		fc->phase = FAILED;
	forget_options(fc);
	return err;
}

int fs_context_take(struct fs_context *fc, struct super_block **out)
{
	MUTEX_GUARD(&fc->lock);

	if (!fc->sb)
		return -EINVAL;
	if (fc->phase != AWAITING_MOUNT)
		return -EBUSY;
	sb_get(fc->sb);
	*out = fc->sb;
	/* From here on the descriptor changes what it has made. */
	fc->phase = RECONF_PARAMS;
	forget_options(fc);
	return 0;
}
