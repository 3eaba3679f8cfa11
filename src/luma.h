/* The files that talk to Lua share these declarations. */
#ifndef LUMA_H
#define LUMA_H

#define LUMA_WITH_LUA
#include "compat.h"

#include "engine.h"

#define CLIENT_TYPE "luma.client"
#define CLAIM_TYPE "luma.claim"

typedef struct Client Client;

/* Registers the client's metatable. Leaves the stack as it was. */
void client_register(lua_State *L);
/* core.client(options): pushes a new client. */
int l_client_new(lua_State *L);
/* Its engine, or an error that it is closed. */
Engine *client_engine(lua_State *L, Client *c);
/* Pushes the next event of the client at `i` and returns how many values it
   is: id, response or id, nil, received, total or nothing. It stays the next
   one until it is acknowledged. */
int peek_event(lua_State *L, int i);
void ack_event(Client *c, long long id);

/* The string `name` of the table at `i`, or NULL. If `n` is given, the length
   goes there and the string may hold any byte. The table keeps it alive. */
const char *option_string(lua_State *L, int i, const char *name, size_t *n);

/* Registers the claim's metatable. Leaves the stack as it was. */
void claim_register(lua_State *L);
/* core.claim(path) -> claim | nil, problem, may_pass */
int l_claim(lua_State *L);
/* The file of the claim at `i`, or an error if another request writes it. */
File *check_claim(lua_State *L, int i);

/* Pushes a table without metamethods that has the fields which indexing the
   one at `given`, an absolute index, finds. False if indexing may find others
   that nothing lists. Runs the metamethods. */
bool push_fields(lua_State *L, int given);
/* Does the same for all tables in it, too; `depth` is 1. Returns NULL, or a
   problem, with more left on the stack. */
const char *push_plain(lua_State *L, int given, int depth);
/* core.fields(table, names) -> fields, is_whole. The fields of these names are
   among them even if nothing lists them. */
int l_fields(lua_State *L);

/* core.data_uri(path) or core.data_uri(nil, bytes)
   -> text | nil, problem, kind */
int l_data_uri(lua_State *L);
/* core.base64_decode(text, from) -> bytes, or nil when it is damaged */
int l_base64_decode(lua_State *L);
/* core.is_base64(text, from) */
int l_is_base64(lua_State *L);

/* The functions that need JSON have these upvalues. */
enum { JSON_ENCODE = 1, JSON_DECODE, JSON_NEW, JSON_ALIVE };

/* Pushes null and then those four, of a private lua-cjson; raises if lua-cjson
   cannot be found. */
void push_json(lua_State *L);
/* Replaces the value at the top by its JSON, or by the reason why it has none;
   raises when the Lua state is being closed. Numbers have a point, whatever
   the host's locale is. */
bool json_encode(lua_State *L);
/* Replaces the text at the top by its value in the same way. */
bool json_decode(lua_State *L);

/* Pushes the table core.system. */
void push_system(lua_State *L);

#endif
