/* System V shared memory, semaphores and message queues. */
#include <errno.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
};

static void sleep_ms(int ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&ts, NULL);
}

static void shared_memory(void)
{
	int id = shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0600), status;
	struct shmid_ds ds;
	char *p, *q;

	REQUIRE(id >= 0);
	p = shmat(id, NULL, 0);
	REQUIRE(p != (void *)-1);
	CHECK_EQ(p[9999], 0);
	q = shmat(id, NULL, SHM_RDONLY);
	CHECK(q != (void *)-1 && q != p);
	p[1] = 'x';
	CHECK_EQ(q[1], 'x');
	CHECK(shmctl(id, IPC_STAT, &ds) == 0);
	CHECK_EQ(ds.shm_nattch, 2);
	CHECK_EQ(ds.shm_segsz, 10000);
	CHECK_EQ(ds.shm_cpid, getpid());
	CHECK(shmdt(q) == 0);
	CHECK_ERRNO(shmdt(q), EINVAL);
	if (!fork()) {
		p[2] = 'y';
		_exit(shmctl(id, IPC_STAT, &ds) || ds.shm_nattch != 2);
	}
	CHECK(wait(&status) > 0 && status == 0);
	CHECK_EQ(p[2], 'y');
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	/* Still there until the last detach. */
	CHECK(shmctl(id, IPC_STAT, &ds) == 0 && (ds.shm_perm.mode & SHM_DEST));
	p[3] = 'z';
	CHECK(shmdt(p) == 0);
	CHECK_ERRNO(shmctl(id, IPC_STAT, &ds), EINVAL);
	CHECK_ERRNO(shmat(id, NULL, 0) == (void *)-1 ? -1 : 0, EINVAL);
	CHECK_ERRNO(shmget(IPC_PRIVATE, 0, 0600), EINVAL);
}

static void keys(void)
{
	key_t key = 0x4d4f4154 + getpid();
	int id = shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0600);

	REQUIRE(id >= 0);
	CHECK_EQ(shmget(key, 100, 0), id);
	CHECK_ERRNO(shmget(key, 8192, 0), EINVAL);
	CHECK_ERRNO(shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	CHECK_ERRNO(shmget(key, 4096, 0), ENOENT);
}

static void semaphores(void)
{
	int id = semget(IPC_PRIVATE, 3, IPC_CREAT | 0600), status;
	struct sembuf down = {0, -1, 0}, up = {0, 1, 0}, zero = {0, 0, 0};
	struct sembuf both[2] = {{1, -1, IPC_NOWAIT}, {2, -1, IPC_NOWAIT}};
	struct timespec ts = {0, 30000000};
	union semun arg = {.val = 1};
	unsigned short all[3];
	pid_t pid;

	REQUIRE(id >= 0);
	CHECK_EQ(semctl(id, 0, GETVAL), 0);
	CHECK(semctl(id, 1, SETVAL, arg) == 0);
	/* All or nothing. */
	CHECK_ERRNO(semop(id, both, 2), EAGAIN);
	CHECK_EQ(semctl(id, 1, GETVAL), 1);
	CHECK_ERRNO(semtimedop(id, &down, 1, &ts), EAGAIN);
	pid = fork();
	if (!pid)
		_exit(semop(id, &down, 1) ? 1 : 0);
	for (int i = 0; i < 500 && semctl(id, 0, GETNCNT) != 1; i++)
		sleep_ms(2);
	CHECK_EQ(semctl(id, 0, GETNCNT), 1);
	CHECK(semop(id, &up, 1) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK_EQ(semctl(id, 0, GETVAL), 0);
	CHECK_EQ(semctl(id, 0, GETPID), pid);
	CHECK(semop(id, &zero, 1) == 0);
	/* What a process owes is given back when it ends. */
	pid = fork();
	if (!pid) {
		struct sembuf take = {1, -1, SEM_UNDO};

		_exit(semop(id, &take, 1) ? 1 : 0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK_EQ(semctl(id, 1, GETVAL), 1);
	arg.array = all;
	all[0] = 5, all[1] = 6, all[2] = 7;
	CHECK(semctl(id, 0, SETALL, arg) == 0);
	all[0] = all[1] = all[2] = 0;
	CHECK(semctl(id, 0, GETALL, arg) == 0 && all[0] == 5 && all[2] == 7);
	CHECK_ERRNO(semop(id, &(struct sembuf){9, 1, 0}, 1), EFBIG);
	arg.val = 40000;
	CHECK_ERRNO(semctl(id, 0, SETVAL, arg), ERANGE);
	/* Removal wakes who waits. */
	pid = fork();
	if (!pid) {
		down.sem_op = -100;
		_exit(semop(id, &down, 1) == -1 && errno == EIDRM ? 0 : 1);
	}
	for (int i = 0; i < 500 && semctl(id, 0, GETNCNT) != 1; i++)
		sleep_ms(2);
	CHECK(semctl(id, 0, IPC_RMID) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK_ERRNO(semctl(id, 0, GETVAL), EINVAL);
}

struct message {
	long type;
	char text[64];
};

/* How many numbers the line of object `id` has in a file of /proc/sysvipc; 0: no such line. */
static int listed(const char *path, int id, long *at, int column)
{
	FILE *f = fopen(path, "r");
	char line[512];
	int fields = 0;

	REQUIRE(f);
	REQUIRE(fgets(line, sizeof(line), f) && strstr(line, "key"));
	while (fgets(line, sizeof(line), f)) {
		char *p = line, *end;
		long v[20];
		int n = 0;

		for (; n < 20; n++, p = end) {
			v[n] = strtol(p, &end, n == 2 ? 8 : 10);
			if (end == p)
				break;
		}
		if (n > column && v[1] == id) {
			fields = n;
			*at = v[column];
		}
	}
	fclose(f);
	return fields;
}

static void proc_lists_objects(void)
{
	int shm = shmget(IPC_PRIVATE, 12345, 0640), sem = semget(IPC_PRIVATE, 7, 0600);
	int msg = msgget(IPC_PRIVATE, 0600);
	struct message m = {1, "one"};
	long v = 0;

	CHECK_EQ(msgsnd(msg, &m, 4, 0), 0);
	CHECK_EQ(listed("/proc/sysvipc/msg", msg, &v, 3), 14);
	CHECK_EQ(v, 4);
	CHECK_EQ(listed("/proc/sysvipc/sem", sem, &v, 3), 10);
	CHECK_EQ(v, 7);
	CHECK_EQ(listed("/proc/sysvipc/shm", shm, &v, 3), 16);
	CHECK_EQ(v, 12345);
	CHECK_EQ(listed("/proc/sysvipc/shm", shm, &v, 2), 16);
	CHECK_EQ(v, 0640);
	/* The host may have objects of others. */
	struct msginfo mi;
	struct seminfo si;
	CHECK(msgctl(0, MSG_INFO, (void *)&mi) >= 0);
	CHECK(mi.msgpool >= 1 && mi.msgmap >= 1 && mi.msgmap < 1000 && mi.msgtql >= 4);
	CHECK(semctl(0, 0, SEM_INFO, &si) >= 0);
	CHECK(si.semusz >= 1 && si.semaem >= 7 && si.semaem < 1000);
	msgctl(msg, IPC_RMID, NULL);
	semctl(sem, 0, IPC_RMID);
	shmctl(shm, IPC_RMID, NULL);
	CHECK_EQ(listed("/proc/sysvipc/msg", msg, &v, 3), 0);
}

static void messages(void)
{
	int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600), status;
	struct message m = {1, "one"}, r = {0};
	struct msqid_ds ds;
	pid_t pid;

	REQUIRE(id >= 0);
	CHECK(msgsnd(id, &m, 4, 0) == 0);
	m = (struct message){3, "three"};
	CHECK(msgsnd(id, &m, 6, 0) == 0);
	m = (struct message){2, "two"};
	CHECK(msgsnd(id, &m, 4, 0) == 0);
	CHECK(msgctl(id, IPC_STAT, &ds) == 0 && ds.msg_qnum == 3 && ds.__msg_cbytes == 14);
	CHECK_ERRNO(msgrcv(id, &r, 2, 3, 0), E2BIG);
	CHECK_EQ(msgrcv(id, &r, 2, 3, MSG_NOERROR), 2);
	CHECK(r.type == 3 && !memcmp(r.text, "th", 2));
	CHECK_EQ(msgrcv(id, &r, 64, 1, MSG_EXCEPT), 4);
	CHECK(r.type == 2 && !strcmp(r.text, "two"));
	CHECK_EQ(msgrcv(id, &r, 64, -5, 0), 4);
	CHECK(r.type == 1);
	CHECK_ERRNO(msgrcv(id, &r, 64, 0, IPC_NOWAIT), ENOMSG);
	m.type = 0;
	CHECK_ERRNO(msgsnd(id, &m, 4, 0), EINVAL);
	pid = fork();
	if (!pid)
		_exit(msgrcv(id, &r, 64, 7, 0) == 5 && r.type == 7 ? 0 : 1);
	sleep_ms(30);
	m = (struct message){7, "late"};
	CHECK(msgsnd(id, &m, 5, 0) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	/* Full. */
	m.type = 1;
	while (msgsnd(id, &m, 64, IPC_NOWAIT) == 0)
		;
	CHECK_EQ(errno, EAGAIN);
	CHECK(msgctl(id, IPC_RMID, NULL) == 0);
	CHECK_ERRNO(msgsnd(id, &m, 4, 0), EINVAL);
}

int main(void)
{
	alarm(40);
	shared_memory();
	keys();
	semaphores();
	messages();
	proc_lists_objects();
	CHECK_DONE();
}
