/* See lists.h. */
#include "lists.h"

#include <assert.h>
#include <stdlib.h>

bool list_has(const List *l, const Request *r) {
  return l->first == r || r->links[l->kind].prev != NULL;
}

void list_add(List *l, Request *r) {
  Link *link = &r->links[l->kind];
  assert(link->next == NULL && !list_has(l, r));
  link->prev = l->last;
  if (l->last) l->last->links[l->kind].next = r;
  else l->first = r;
  l->last = r;
}

void list_remove(List *l, Request *r) {
  Link *link = &r->links[l->kind];
  assert(list_has(l, r));
  if (link->prev) link->prev->links[l->kind].next = link->next;
  else l->first = link->next;
  if (link->next) link->next->links[l->kind].prev = link->prev;
  else l->last = link->prev;
  link->next = link->prev = NULL;
}

/* ---- the heap ---- */

static void put(Heap *h, size_t i, Request *r) {
  h->items[i] = r;
  r->place = i + 1;
}

/* Puts a request at `i`, or above that where it is due before others. */
static void move_up(Heap *h, size_t i, Request *r) {
  for (; i > 0 && h->items[(i - 1) / 2]->due > r->due; i = (i - 1) / 2)
    put(h, i, h->items[(i - 1) / 2]);
  put(h, i, r);
}

static void move_down(Heap *h, size_t i, Request *r) {
  for (;;) {
    size_t child = 2 * i + 1;
    if (child + 1 < h->count &&
        h->items[child + 1]->due < h->items[child]->due)
      child++;
    if (child >= h->count || h->items[child]->due >= r->due) break;
    put(h, i, h->items[child]);
    i = child;
  }
  put(h, i, r);
}

bool heap_reserve(Heap *h) {
  if (h->count < h->room) return true;
  size_t room = h->room ? 2 * h->room : 64;
  Request **grown = realloc(h->items, room * sizeof *grown);
  if (grown == NULL) return false;
  h->items = grown;
  h->room = room;
  return true;
}

void heap_add(Heap *h, Request *r) {
  assert(r->place == 0 && h->count < h->room);
  move_up(h, h->count++, r);
}

void heap_remove(Heap *h, Request *r) {
  size_t i = r->place - 1;
  assert(r->place > 0 && i < h->count && h->items[i] == r);
  Request *last = h->items[--h->count];
  r->place = 0;
  if (last == r) return;
  if (i > 0 && h->items[(i - 1) / 2]->due > last->due) move_up(h, i, last);
  else move_down(h, i, last);
}

Request *heap_first(const Heap *h) { return h->count ? h->items[0] : NULL; }
