/* What was refused, a line of JSON each. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "boot/net/egress.h"
#include "sentry/kernel/core/current.h"
#include "sentry/kernel/task/task.h"

static int report_fd = -1;
static const char *sandbox_id = "";

static const char *protocol_name(uint8_t protocol, char *number, size_t size)
{
	switch (protocol) {
	case 0:
		return "none";
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return "icmp";
	}
	snprintf(number, size, "%u", protocol);
	return number;
}

static void append_string(struct text *t, const char *key, const char *value)
{
	text_printf(t, ",\"%s\":\"", key);
	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;

		if (c == '"' || c == '\\')
			text_printf(t, "\\%c", c);
		else
			text_printf(t, "%c", c < 0x20 || c >= 0x7f ? '?' : c);
	}
	text_printf(t, "\"");
}

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100) || year % 400 == 0;
}

/* gmtime_r() would want to read the time zone's file. */
static void append_time(struct text *t)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	struct timespec ts;
	int year = 1970, month = 0;
	long days, second;

	clock_gettime(CLOCK_REALTIME, &ts);
	days = ts.tv_sec / 86400;
	second = ts.tv_sec % 86400;
	for (; days >= 365 + is_leap(year); year++)
		days -= 365 + is_leap(year);
	for (; days >= lengths[month] + (month == 1 && is_leap(year)); month++)
		days -= lengths[month] + (month == 1 && is_leap(year));
	text_printf(t, "{\"time\":\"%04d-%02d-%02ldT%02ld:%02ld:%02ld.%03ldZ\"", year, month + 1,
		    days + 1, second / 3600, second / 60 % 60, second % 60, ts.tv_nsec / 1000000);
}

static void append_target(struct text *t, const struct net_egress_refusal *r)
{
	static const struct in6_addr none;
	char text[INET6_ADDRSTRLEN], number[8];

	append_string(t, "protocol", protocol_name(r->protocol, number, sizeof(number)));
	if (memcmp(&r->addr, &none, sizeof(none))) {
		if (IN6_IS_ADDR_V4MAPPED(&r->addr))
			inet_ntop(AF_INET, r->addr.s6_addr + 12, text, sizeof(text));
		else
			inet_ntop(AF_INET6, &r->addr, text, sizeof(text));
		append_string(t, "address", text);
	}
	if (r->port)
		text_printf(t, ",\"port\":%u", r->port);
	if (*r->name)
		append_string(t, "name", r->name);
}

static void write_refusal(void *ctx, const struct net_egress_refusal *r)
{
	static const char *const reasons[] = {
		[NET_EGRESS_DEFAULT] = "default",     [NET_EGRESS_RULE] = "rule",
		[NET_EGRESS_METADATA] = "metadata",   [NET_EGRESS_NAME] = "name",
		[NET_EGRESS_MALFORMED] = "malformed",
	};
	struct text t = {0};

	append_time(&t);
	append_string(&t, "event", "egress-refused");
	append_string(&t, "sandbox", sandbox_id);
	append_string(&t, "reason", reasons[r->reason]);
	if (r->rule >= 0)
		text_printf(&t, ",\"rule\":%d", r->rule);
	append_target(&t, r);
	/* Retransmissions, and what waited for a neighbour, are sent by threads of the sentry's. */
	if (current) {
		text_printf(&t, ",\"pid\":%d", task_tgid(current));
		append_string(&t, "command", current->comm);
	}
	if (r->missed)
		text_printf(&t, ",\"missed\":%llu", (unsigned long long)r->missed);
	text_printf(&t, "}\n");
	if (!t.failed)
		(void)!write(report_fd >= 0 ? report_fd : log_fd(), t.buf, t.len);
	text_free(&t);
}

int egress_start(struct netstack *s, const struct net_egress_config *c, int fd, const char *id)
{
	report_fd = fd;
	sandbox_id = id;
	net_egress_report(s, write_refusal, NULL);
	return c ? net_egress_set(s, c) : 0;
}
