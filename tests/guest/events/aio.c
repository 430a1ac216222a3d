/* Asynchronous I/O of the kernel's kind (man 2 io_setup, io_submit, io_getevents). */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static int setup(unsigned nr, aio_context_t *ctx)
{
	return (int)syscall(SYS_io_setup, nr, ctx);
}

static int destroy(aio_context_t ctx)
{
	return (int)syscall(SYS_io_destroy, ctx);
}

static int submit(aio_context_t ctx, long nr, struct iocb **cbs)
{
	return (int)syscall(SYS_io_submit, ctx, nr, cbs);
}

static int getevents(aio_context_t ctx, long min, long nr, struct io_event *e, struct timespec *ts)
{
	return (int)syscall(SYS_io_getevents, ctx, min, nr, e, ts);
}

static struct iocb request(int op, int fd, void *buf, size_t n, int64_t pos)
{
	return (struct iocb){
		.aio_lio_opcode = (uint16_t)op,
		.aio_fildes = (uint32_t)fd,
		.aio_buf = (uint64_t)(uintptr_t)buf,
		.aio_nbytes = n,
		.aio_offset = pos,
		.aio_data = (uint64_t)op + 1000,
	};
}

static int file;
static aio_context_t ctx;

static void reads_and_writes(void)
{
	char out[] = "0123456789", in[16] = "", a[4] = "", b[4] = "";
	struct iovec iov[2] = {{a, 3}, {b, 3}};
	struct iocb w = request(IOCB_CMD_PWRITE, file, out, 10, 0);
	struct iocb r = request(IOCB_CMD_PREAD, file, in, 16, 2);
	struct iocb v = request(IOCB_CMD_PREADV, file, iov, 2, 4);
	struct iocb s = request(IOCB_CMD_FSYNC, file, NULL, 0, 0);
	struct iocb *one[] = {&w}, *rest[] = {&r, &v, &s};
	struct io_event e[8];
	int seen = 0;

	CHECK_EQ(submit(ctx, 1, one), 1);
	CHECK_EQ(getevents(ctx, 1, 8, e, NULL), 1);
	CHECK_EQ(e[0].res, 10);
	CHECK_EQ(e[0].obj, (uintptr_t)&w);
	CHECK_EQ(e[0].data, 1000 + IOCB_CMD_PWRITE);
	CHECK_EQ(submit(ctx, 3, rest), 3);
	CHECK_EQ(getevents(ctx, 3, 8, e, NULL), 3);
	for (int i = 0; i < 3; i++) {
		seen |= 1 << e[i].data % 1000;
		CHECK_EQ(e[i].res, e[i].obj == (uintptr_t)&r   ? 8
				   : e[i].obj == (uintptr_t)&v ? 6
							       : 0);
	}
	CHECK_EQ(seen, 1 << IOCB_CMD_PREAD | 1 << IOCB_CMD_PREADV | 1 << IOCB_CMD_FSYNC);
	CHECK(!memcmp(in, "23456789", 8));
	CHECK(!memcmp(a, "456", 3) && !memcmp(b, "789", 3));
	CHECK_EQ(lseek(file, 0, SEEK_CUR), 0);
}

static void eventfd_tells(void)
{
	int ev = eventfd(0, EFD_NONBLOCK);
	struct pollfd p = {.fd = ev, .events = POLLIN};
	char c;
	struct iocb r = request(IOCB_CMD_PREAD, file, &c, 1, 0), r2 = r;
	struct iocb *both[] = {&r, &r2};
	struct io_event e[2];
	uint64_t n = 0;

	r.aio_flags = r2.aio_flags = IOCB_FLAG_RESFD;
	r.aio_resfd = r2.aio_resfd = (uint32_t)ev;
	CHECK_EQ(submit(ctx, 2, both), 2);
	CHECK_EQ(getevents(ctx, 2, 2, e, NULL), 2);
	CHECK_EQ(poll(&p, 1, 1000), 1);
	CHECK_EQ(read(ev, &n, sizeof(n)), 8);
	CHECK_EQ(n, 2);
	r.aio_resfd = (uint32_t)file;
	CHECK_ERRNO(submit(ctx, 1, both), EINVAL);
	close(ev);
}

static void errors(void)
{
	char c[4];
	struct iocb good = request(IOCB_CMD_PREAD, file, c, 1, 0), bad = good;
	struct iocb *cbs[] = {&good, &bad};
	struct timespec zero = {0}, some = {0, 50000000};
	int wronly = open("/dev/null", O_WRONLY);
	aio_context_t c2 = 1, big = 0;
	struct io_event e[4];

	CHECK_ERRNO(setup(1, &c2), EINVAL);
	CHECK_ERRNO(setup(0, &big), EINVAL);
	CHECK_ERRNO(setup(0x10000000, &big), EINVAL);
	CHECK_ERRNO(setup(1, NULL), EFAULT);
	CHECK_ERRNO(submit(0, 0, cbs), EINVAL);
	CHECK_ERRNO(submit(ctx, -1, cbs), EINVAL);
	CHECK_ERRNO(submit(ctx, 1, NULL), EFAULT);
	CHECK_EQ(submit(ctx, 0, NULL), 0);
	/* The first bad one ends the batch; only if it is the very first its error is told. */
	bad.aio_fildes = 9999;
	CHECK_EQ(submit(ctx, 2, cbs), 1);
	CHECK_ERRNO(submit(ctx, 1, cbs + 1), EBADF);
	bad = good;
	bad.aio_fildes = (uint32_t)wronly;
	CHECK_ERRNO(submit(ctx, 1, cbs + 1), EBADF);
	bad = good;
	bad.aio_lio_opcode = 77;
	CHECK_ERRNO(submit(ctx, 1, cbs + 1), EINVAL);
	bad = good;
	bad.aio_offset = -1;
	CHECK_ERRNO(submit(ctx, 1, cbs + 1), EINVAL);
	bad = good;
	bad.aio_reserved2 = 1;
	CHECK_ERRNO(submit(ctx, 1, cbs + 1), EINVAL);
	CHECK_EQ(getevents(ctx, 1, 4, e, &zero), 1);
	CHECK_EQ(getevents(ctx, 1, 4, e, &zero), 0);
	CHECK_EQ(getevents(ctx, 1, 4, e, &some), 0);
	CHECK_ERRNO(getevents(ctx, 2, 1, e, &zero), EINVAL);
	CHECK_ERRNO(getevents(ctx, -1, 1, e, &zero), EINVAL);
	CHECK_ERRNO(getevents(12345, 0, 1, e, &zero), EINVAL);
	CHECK_ERRNO(syscall(SYS_io_cancel, ctx, NULL, e), EFAULT);
	CHECK_ERRNO(syscall(SYS_io_cancel, ctx, &good, e), EINVAL);
	CHECK_ERRNO(destroy(1), EINVAL);
	close(wronly);
}

/* Each context has its room; a child has none of its parent's contexts. */
static void room_and_forks(void)
{
	aio_context_t small = 0;
	char c;
	struct iocb r = request(IOCB_CMD_PREAD, file, &c, 1, 0), *cb = &r;
	struct io_event e[4];
	int n = 0, status;

	REQUIRE(setup(1, &small) == 0);
	while (n < 100000 && submit(small, 1, &cb) == 1)
		n++;
	CHECK(n >= 1 && n < 100000);
	CHECK_EQ(errno, EAGAIN);
	if (fork() == 0)
		_exit(getevents(small, 0, 4, e, NULL) == -1 && errno == EINVAL ? 0 : 1);
	wait(&status);
	CHECK_EQ(status, 0);
	CHECK(getevents(small, 1, 4, e, NULL) >= 1);
	CHECK_EQ(submit(small, 1, &cb), 1);
	CHECK_EQ(destroy(small), 0);
	CHECK_ERRNO(destroy(small), EINVAL);
	CHECK_ERRNO(submit(small, 1, &cb), EINVAL);
}

static void on_alarm(int sig)
{
}

static void *submit_later(void *arg)
{
	struct iocb *cb = arg;

	usleep(50000);
	CHECK_EQ(submit(ctx, 1, &cb), 1);
	return NULL;
}

static void waiting(void)
{
	struct sigaction sa = {.sa_handler = on_alarm};
	struct itimerval soon = {.it_value.tv_usec = 50000};
	char c;
	struct iocb r = request(IOCB_CMD_PREAD, file, &c, 1, 0);
	struct io_event e;
	pthread_t th;

	REQUIRE(pthread_create(&th, NULL, submit_later, &r) == 0);
	CHECK_EQ(getevents(ctx, 1, 1, &e, NULL), 1);
	CHECK_EQ(e.obj, (uintptr_t)&r);
	pthread_join(th, NULL);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	CHECK_ERRNO(getevents(ctx, 1, 1, &e, NULL), EINTR);
}

int main(void)
{
	char path[] = "/tmp/aio_test_XXXXXX";

	file = mkstemp(path);
	REQUIRE(file >= 0);
	if (setup(8, &ctx) && errno == ENOSYS) {
		unlink(path);
		printf("this kernel has no AIO\n");
		return 1;
	}
	reads_and_writes();
	eventfd_tells();
	errors();
	room_and_forks();
	waiting();
	CHECK_EQ(destroy(ctx), 0);
	unlink(path);
	CHECK_DONE();
}
