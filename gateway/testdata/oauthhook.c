/*
 * Gives a program that uses libpq 18, and knows nothing of OAuth, a bearer
 * token: that of the environment variable TEST_BEARER. What libpq was told by
 * the server goes to standard error.
 *
 * The declarations are those of PostgreSQL 18's libpq-fe.h, which Debian does
 * not have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct pg_conn PGconn;
enum { PQAUTHDATA_OAUTH_BEARER_TOKEN = 1 };

typedef struct bearer_request {
	const char *openid_configuration;
	const char *scope;
	int (*async)(PGconn *, struct bearer_request *, int *);
	void (*cleanup)(PGconn *, struct bearer_request *);
	char *token;
	void *user;
} bearer_request;

extern void PQsetAuthDataHook(int (*hook)(int, PGconn *, void *));

static int hook(int type, PGconn *conn, void *data)
{
	bearer_request *request = data;
	char *token = getenv("TEST_BEARER");

	(void) conn;
	if (type != PQAUTHDATA_OAUTH_BEARER_TOKEN || token == NULL)
		return 0;
	fprintf(stderr, "asked for scope=%s at %s\n", request->scope ? request->scope : "",
			request->openid_configuration ? request->openid_configuration : "");
	request->token = token;
	return 1;
}

__attribute__((constructor)) static void install(void)
{
	PQsetAuthDataHook(hook);
}
