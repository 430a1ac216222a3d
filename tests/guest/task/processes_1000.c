/* 1,000 processes alive at once; each ends with its own status. */
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define N 1000

int main(void)
{
	static pid_t pids[N];
	int go[2], ready[2];
	char c;

	REQUIRE(!pipe(go) && !pipe(ready));
	for (int i = 0; i < N; i++) {
		pids[i] = fork();
		REQUIRE(pids[i] >= 0);
		if (pids[i] == 0) {
			close(go[1]);
			if (write(ready[1], "r", 1) != 1)
				_exit(255);
			(void)!read(go[0], &c, 1); /* returns when the parent closes the pipe */
			_exit(i % 200);
		}
	}
	for (int i = 0; i < N; i++)
		CHECK_EQ(read(ready[0], &c, 1), 1);
	close(go[1]);
	close(go[0]);
	for (int i = 0; i < N; i++) {
		int status = -1;

		CHECK_EQ(waitpid(pids[i], &status, 0), pids[i]);
		CHECK(WIFEXITED(status));
		CHECK_EQ(WEXITSTATUS(status), i % 200);
	}
	CHECK_ERRNO(waitpid(-1, NULL, 0), ECHILD);
	CHECK_DONE();
}
