/* Random operations on tmpfs against a model that is obviously right. */
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/kernel/task/task.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode/attr.h"
#include "sentry/vfs/name/namei.h"
#include "vfs_fixture.h"

#define NAMES 6
#define MAX_SIZE 1200000

struct model {
	int links;
	size_t size;
	unsigned char data[MAX_SIZE];
};
static struct model *names[NAMES];
static uint32_t seed;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static const char *name_of(int i)
{
	static char buf[2][16];
	static int turn;

	turn ^= 1;
	snprintf(buf[turn], sizeof(buf[turn]), i % 2 ? "/d/n%d" : "/n%d", i);
	return buf[turn];
}

static void model_put(struct model *m)
{
	if (m && !--m->links)
		free(m);
}

static size_t random_pos(void)
{
	switch (rnd(4)) {
	case 0:
		return rnd(100);
	case 1:
		return 65536 - 50 + rnd(100);
	case 2:
		return (rnd(4) ? rnd(70) : 240 + rnd(40)) * 4096; /* past 1 MiB: a memfd */
	default:
		return rnd(MAX_SIZE - 20000);
	}
}

static void do_write(int i, struct file *f)
{
	static unsigned char buf[20000];
	size_t n = 1 + rnd(rnd(2) ? 100 : sizeof(buf) - 1), pos = random_pos();
	struct model *m = names[i];

	for (size_t k = 0; k < n; k++)
		buf[k] = rnd(256);
	assert_int_equal(kernel_write(f, buf, n, pos), n);
	memcpy(m->data + pos, buf, n);
	if (pos + n > m->size)
		m->size = pos + n;
}

static void do_truncate_one(int i)
{
	struct model *m = names[i];
	size_t size = random_pos();
	struct path p;

	assert_int_equal(path_lookupat(AT_FDCWD, name_of(i), 0, &p), 0);
	assert_int_equal(vfs_truncate(&p, size), 0);
	path_put(&p);
	if (size < m->size)
		memset(m->data + size, 0, m->size - size);
	m->size = size;
}

static void do_punch(int i, struct file *f)
{
	struct model *m = names[i];
	size_t pos = random_pos(), n = 1 + rnd(20000), end;
	bool zero = rnd(2);
	int mode = FALLOC_FL_KEEP_SIZE | (zero ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);

	assert_int_equal(f->ops->fallocate(f, mode, pos, n), 0);
	end = pos + n < m->size ? pos + n : m->size;
	if (pos < end)
		memset(m->data + pos, 0, end - pos);
}

static void check_one(int i)
{
	static unsigned char buf[MAX_SIZE + 10];
	struct model *m = names[i];
	struct file *f;
	int err = file_open_at(AT_FDCWD, name_of(i), O_RDONLY, 0, &f);

	if (!m) {
		assert_int_equal(err, -ENOENT);
		return;
	}
	assert_int_equal(err, 0);
	assert_int_equal(f->inode->size, m->size);
	assert_int_equal(f->inode->nlink, m->links);
	assert_int_equal(kernel_read(f, buf, sizeof(buf), 0), m->size);
	assert_memory_equal(buf, m->data, m->size);
	file_put(f);
}

static void step(void)
{
	int i = rnd(NAMES), j = rnd(NAMES), fd;
	struct file *f;

	switch (rnd(9)) {
	case 0:
		fd = t_open(name_of(i), O_CREAT | O_EXCL | O_RDWR, 0644);
		assert_int_equal(fd < 0, names[i] != NULL);
		if (fd >= 0) {
			names[i] = calloc(1, sizeof(struct model));
			names[i]->links = 1;
			t_close(fd);
		}
		break;
	case 1:
		assert_int_equal(vfs_unlink(AT_FDCWD, name_of(i)), names[i] ? 0 : -ENOENT);
		model_put(names[i]);
		names[i] = NULL;
		break;
	case 2:
		fd = vfs_rename(AT_FDCWD, name_of(i), AT_FDCWD, name_of(j), 0);
		assert_int_equal(fd, names[i] ? 0 : -ENOENT);
		if (names[i] && names[i] != names[j]) {
			model_put(names[j]);
			names[j] = names[i];
			names[i] = NULL;
		}
		break;
	case 3:
		fd = vfs_link(AT_FDCWD, name_of(i), AT_FDCWD, name_of(j), 0);
		assert_int_equal(fd, !names[i] ? -ENOENT : names[j] ? -EEXIST : 0);
		if (!fd) {
			names[j] = names[i];
			names[i]->links++;
		}
		break;
	case 4:
		if (names[i])
			do_truncate_one(i);
		break;
	default:
		if (!names[i])
			break;
		assert_int_equal(file_open_at(AT_FDCWD, name_of(i), O_RDWR, 0, &f), 0);
		if (rnd(4))
			do_write(i, f);
		else
			do_punch(i, f);
		file_put(f);
	}
}

static void random_operations_match_the_model(void **state)
{
	struct mnt_ns *ns = vfs_fixture_start();

	assert_int_equal(vfs_mkdir(AT_FDCWD, "/d", 0755), 0);
	for (seed = 1; seed < 4; seed++) {
		uint32_t start = seed;

		for (int n = 0; n < 800; n++) {
			step();
			check_one(rnd(NAMES));
		}
		for (int i = 0; i < NAMES; i++)
			check_one(i);
		seed = start;
	}
	for (int i = 0; i < NAMES; i++) {
		model_put(names[i]);
		names[i] = NULL;
	}
	vfs_fixture_stop(ns);
}

/* Whatever happened before, an empty file system has nothing charged. */
static void quota_comes_back(void **state)
{
	struct tmpfs_quota *q = tmpfs_quota_create(1 << 20, 100);
	struct tmpfs_data *d = tmpfs_data_create(q);
	static char buf[400000];
	struct iov_iter it;

	iov_iter_kernel(&it, buf, sizeof(buf));
	assert_int_equal(tmpfs_data_write(d, &it, 0), sizeof(buf));
	iov_iter_kernel(&it, buf, sizeof(buf));
	assert_int_equal(tmpfs_data_write(d, &it, 5000000), sizeof(buf));
	assert_true(q->pages <= 200 && q->pages >= 196);
	iov_iter_kernel(&it, buf, sizeof(buf));
	/* 256 pages in all: what fits is written, then ENOSPC. */
	assert_true(tmpfs_data_write(d, &it, 9000000) < (ssize_t)sizeof(buf));
	iov_iter_kernel(&it, buf, sizeof(buf));
	assert_int_equal(tmpfs_data_write(d, &it, 20000000), -ENOSPC);
	assert_true(q->pages <= 256);
	assert_int_equal(
		tmpfs_data_fallocate(d, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 400000), 0);
	assert_true(q->pages < 170);
	assert_int_equal(tmpfs_data_truncate(d, 100), 0);
	assert_true(q->pages <= 1);
	tmpfs_data_free(d);
	assert_int_equal(q->pages, 0);
	tmpfs_quota_put(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_match_the_model),
		cmocka_unit_test(quota_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
