/* The limits of System V objects in /proc/sys/kernel are their ipc namespace's (man 7 sysvipc). */
#include <fcntl.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define SYS "/proc/sys/kernel/"

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), saved;
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	saved = errno;
	close(fd);
	errno = saved;
	return n < 0 ? -1 : 0;
}

static int reads(const char *path, const char *text)
{
	char got[128] = "";
	int fd = open(path, O_RDONLY);

	read(fd, got, sizeof(got) - 1);
	close(fd);
	if (strcmp(got, text))
		printf("%s: %s", path, got);
	return !strcmp(got, text);
}

static void shared_memory(void)
{
	struct shminfo info;
	int id, other;

	CHECK_EQ(put(SYS "shmmax", "100000\n"), 0);
	CHECK(reads(SYS "shmmax", "100000\n"));
	CHECK_ERRNO(shmget(IPC_PRIVATE, 100001, 0600), EINVAL);
	id = shmget(IPC_PRIVATE, 100000, 0600);
	CHECK(id >= 0);
	CHECK(shmctl(0, IPC_INFO, (struct shmid_ds *)&info) >= 0);
	CHECK_EQ(info.shmmax, 100000);
	/* Pages: 25 are in use. */
	CHECK_EQ(put(SYS "shmall", "26"), 0);
	CHECK_ERRNO(shmget(IPC_PRIVATE, 8192, 0600), ENOSPC);
	other = shmget(IPC_PRIVATE, 4096, 0600);
	CHECK(other >= 0);
	CHECK_EQ(put(SYS "shmall", "1000"), 0);
	CHECK_EQ(put(SYS "shmmni", "2"), 0);
	CHECK_ERRNO(shmget(IPC_PRIVATE, 4096, 0600), ENOSPC);
	CHECK_EQ(shmctl(other, IPC_RMID, NULL), 0);
	other = shmget(IPC_PRIVATE, 8192, 0600);
	CHECK(other >= 0);
	CHECK_ERRNO(put(SYS "shmmni", "32769"), EINVAL);
	CHECK_ERRNO(put(SYS "shmmni", "-1"), EINVAL);
	CHECK_ERRNO(put(SYS "shmmni", "many"), EINVAL);
	CHECK(reads(SYS "shmmni", "2\n"));
	shmctl(id, IPC_RMID, NULL);
	shmctl(other, IPC_RMID, NULL);
}

static void messages(void)
{
	struct {
		long type;
		char text[20000];
	} m = {.type = 1};
	struct msqid_ds ds;
	int id, other;

	CHECK_EQ(put(SYS "msgmnb", "40000"), 0);
	id = msgget(IPC_PRIVATE, 0600);
	CHECK_EQ(msgctl(id, IPC_STAT, &ds), 0);
	CHECK_EQ(ds.msg_qbytes, 40000);
	CHECK_ERRNO(msgsnd(id, &m, 20000, IPC_NOWAIT), EINVAL);
	CHECK_EQ(put(SYS "msgmax", "20000"), 0);
	CHECK_EQ(msgsnd(id, &m, 20000, IPC_NOWAIT), 0);
	CHECK_EQ(msgsnd(id, &m, 20000, IPC_NOWAIT), 0);
	CHECK_ERRNO(msgsnd(id, &m, 1, IPC_NOWAIT), EAGAIN);
	CHECK_EQ(msgrcv(id, &m, 20000, 0, IPC_NOWAIT), 20000);
	CHECK_EQ(put(SYS "msgmni", "1"), 0);
	CHECK_ERRNO(msgget(IPC_PRIVATE, 0600), ENOSPC);
	CHECK_EQ(put(SYS "msgmni", "2"), 0);
	other = msgget(IPC_PRIVATE, 0600);
	CHECK(other >= 0);
	CHECK_ERRNO(put(SYS "msgmax", "2147483648"), EINVAL);
	msgctl(id, IPC_RMID, NULL);
	msgctl(other, IPC_RMID, NULL);
}

static void semaphores(void)
{
	struct sembuf ops[3] = {{0, 1, 0}, {1, 1, 0}, {2, 1, 0}};
	int id, other;

	CHECK_EQ(put(SYS "sem", "10 12 2 2"), 0);
	CHECK(reads(SYS "sem", "10\t12\t2\t2\n"));
	CHECK_ERRNO(semget(IPC_PRIVATE, 11, 0600), EINVAL);
	id = semget(IPC_PRIVATE, 10, 0600);
	CHECK(id >= 0);
	CHECK_ERRNO(semop(id, ops, 3), E2BIG);
	CHECK_EQ(semop(id, ops, 2), 0);
	CHECK_ERRNO(semget(IPC_PRIVATE, 3, 0600), ENOSPC);
	other = semget(IPC_PRIVATE, 2, 0600);
	CHECK(other >= 0);
	CHECK_EQ(put(SYS "sem", "10 100"), 0); /* the others stay */
	CHECK(reads(SYS "sem", "10\t100\t2\t2\n"));
	CHECK_ERRNO(semget(IPC_PRIVATE, 1, 0600), ENOSPC); /* sets */
	semctl(id, 0, IPC_RMID);
	semctl(other, 0, IPC_RMID);
}

static void refused(void)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		REQUIRE(setgid(65534) == 0 && setuid(65534) == 0);
		CHECK_ERRNO(put(SYS "shmmax", "1"), EACCES);
		CHECK_ERRNO(put(SYS "sem", "1 1 1 1"), EACCES);
		_exit(check_failures);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

int main(void)
{
	struct stat st;

	CHECK_EQ(stat(SYS "shmmax", &st), 0);
	CHECK_EQ(st.st_mode, S_IFREG | 0644);
	/* What is set must not be anybody else's. */
	if (geteuid() || unshare(CLONE_NEWIPC))
		CHECK_DONE();
	CHECK(reads(SYS "msgmax", "8192\n"));
	refused();
	shared_memory();
	messages();
	semaphores();
	CHECK_EQ(unshare(CLONE_NEWIPC), 0);
	CHECK(reads(SYS "shmmax", "18446744073692774399\n"));
	CHECK(reads(SYS "sem", "32000\t1024000000\t500\t32000\n"));
	CHECK_DONE();
}
