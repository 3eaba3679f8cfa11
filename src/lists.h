/* How requests are kept: in lists by the order in which they came, and in a
   heap by the time at which they are due. A request is on at most one list of
   each kind and in at most one heap. No Lua, no libcurl, no locks. */
#ifndef LUMA_LISTS_H
#define LUMA_LISTS_H

#include "request.h"

typedef struct List {
  ListKind kind;
  Request *first, *last;
} List;

void list_add(List *l, Request *r);
bool list_has(const List *l, const Request *r);
void list_remove(List *l, Request *r);

typedef struct Heap {
  Request *
      *items; /* the one that is due first leads; NULL or `room` of them */
  size_t count, room;
} Heap;

/* Makes room for one more. False when there is no memory. */
bool heap_reserve(Heap *h);
/* Adds a request by its `due`; there is room. */
void heap_add(Heap *h, Request *r);
void heap_remove(Heap *h, Request *r);
/* The request that is due first, or NULL. */
Request *heap_first(const Heap *h);

#endif
