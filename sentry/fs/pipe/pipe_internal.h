/*
 * Pipes and fifos (man 7 pipe, man 7 fifo).
 *
 * Locks: fifo_lock (inode->fifo and pipe->files) and pipe->lock are never held together with each
 * other's waiters; pipe->lock -> wait queue locks. User memory is copied under pipe->lock. Nothing
 * else is locked inside, and no one blocks for a guest with it held.
 */
#ifndef MOAT_SENTRY_FS_PIPE_PIPE_INTERNAL_H
#define MOAT_SENTRY_FS_PIPE_PIPE_INTERNAL_H

#include "sentry/fs/pipe/ring_internal.h"
#include "sentry/vfs/file.h"

#define PIPE_DEFAULT_CAPACITY 65536U
#define PIPE_MAX_CAPACITY (1U << 20) /* fs.pipe-max-size: more needs CAP_SYS_RESOURCE */
#define PIPE_ATOMIC 4096U	     /* PIPE_BUF */

struct pipe {
	struct mutex lock;
	struct pipe_ring ring;
	unsigned readers, writers;     /* open ends */
	uint64_t r_counter, w_counter; /* ends ever opened: what a blocking open waits for */
	bool is_fifo;		       /* has a name: opens wait for the other side */
	unsigned files;		       /* open files and opens under way; fifo_lock */
	/* One splice at a time may take data out, or put data in, without the lock: others wait. */
	bool read_claimed, write_claimed;
	bool poll_usage; /* someone polls: wake on every change, for edge-triggered epoll */
	struct wait_queue rd_wait, wr_wait;
};

extern const struct file_operations fifo_fops;

/* The file's open function for S_IFIFO inodes: finds or makes the inode's pipe and follows the
 * blocking rules of man 7 fifo. -ENXIO, -ERESTARTSYS, -ENOMEM. No locks held. */
int fifo_open(struct inode *inode, struct file *file);
/* Both ends of a new pipe, not in any fd table. flags: O_NONBLOCK, O_DIRECT. */
int pipe_create(uint32_t flags, struct file **rd, struct file **wr);
/* The pipe behind a file, or NULL. */
struct pipe *file_pipe(struct file *file);

/* --- for splice ------------------------------------------------------------------------------- */

/* Claims the reading end: waits until there is data (0), end of file (0 bytes are there), or
 * -EAGAIN, -ERESTARTSYS. Until pipe_read_release() the data at the tail stays as it is. */
int pipe_read_claim(struct pipe *p, bool nonblock);
uint32_t pipe_read_peek(struct pipe *p, uint32_t skip, void *buf, uint32_t n);
/* Consumes n bytes and ends the claim. */
void pipe_read_release(struct pipe *p, uint32_t n);
/* Claims the writing end: waits for space; *space says how much. -EPIPE (and SIGPIPE sent) without
 * readers, -EAGAIN, -ERESTARTSYS. */
int pipe_write_claim(struct pipe *p, bool nonblock, uint32_t *space);
/* Sees to it that *space bytes have memory: lowers it to what has. -ENOMEM: none. */
int pipe_write_prepare(struct pipe *p, uint32_t *space);
/* Writes what fits of n bytes of sentry memory; bytes, or -ENOMEM. */
ssize_t pipe_write_push(struct pipe *p, const void *buf, uint32_t n);
void pipe_write_release(struct pipe *p);

#endif
