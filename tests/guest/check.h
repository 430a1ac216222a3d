/* Checks for guest tests. A test program prints what failed and exits 1; 0 means all passed. */
#ifndef MOAT_TESTS_GUEST_CHECK_H
#define MOAT_TESTS_GUEST_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_failures;

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("%s:%d: failed: %s (errno %d %s)\n", __FILE__, __LINE__, #cond,     \
			       errno, strerror(errno));                                            \
			fflush(stdout);                                                            \
			check_failures++;                                                          \
		}                                                                                  \
	} while (0)
#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		long long check_a_ = (long long)(a), check_b_ = (long long)(b);                    \
		if (check_a_ != check_b_) {                                                        \
			printf("%s:%d: failed: %s == %s (%lld, %lld; errno %d %s)\n", __FILE__,    \
			       __LINE__, #a, #b, check_a_, check_b_, errno, strerror(errno));      \
			fflush(stdout);                                                            \
			check_failures++;                                                          \
		}                                                                                  \
	} while (0)
/* The call fails with -1 and this errno. */
#define CHECK_ERRNO(call, err)                                                                     \
	do {                                                                                       \
		errno = 0;                                                                         \
		long long check_r_ = (long long)(call);                                            \
		if (check_r_ != -1 || errno != (err)) {                                            \
			printf("%s:%d: failed: %s: got %lld, errno %d (%s), expected %s\n",        \
			       __FILE__, __LINE__, #call, check_r_, errno, strerror(errno), #err); \
			fflush(stdout);                                                            \
			check_failures++;                                                          \
		}                                                                                  \
	} while (0)
/* Like CHECK, but the test cannot go on without it. */
#define REQUIRE(cond)                                                                              \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("%s:%d: required: %s (errno %d %s)\n", __FILE__, __LINE__, #cond,   \
			       errno, strerror(errno));                                            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)
#define CHECK_DONE() return check_failures ? 1 : 0

#endif
