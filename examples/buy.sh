#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Buys the first featured product of a marketplace that has a price and is in stock, with nothing but curl and openssl
# (3.0 or newer): makes a key pair, signs a challenge for a token, registers the key where it is not known yet, signs an
# intent for the purchase, and proves by the receipt that it was bought. What gets no answer is asked again; the nonce
# sees to it that it is bought once.
#
# The key is the wallet. It is made the first time and stays in KEY_FILE: who has that file has the coins.
#
# usage: examples/buy.sh [URL [KEY_FILE]]    if not given: http://127.0.0.1:3000 wallet.pem
set -eu
umask 077
url=${1:-http://127.0.0.1:3000}
key=${2:-wallet.pem}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() { printf 'buy.sh: %s\n' "$*" >&2; exit 1; }
ask() { # PATH [CURL_OPTION...]: leaves the answer in $reply and its status in $status
    path=$1
    shift
    reply=$(curl -sS --retry 5 --retry-connrefused -H 'Content-Type: application/json' -w '\n%{http_code}' "$@" \
        "$url$path") || die "$path: no answer from $url"
    status=${reply##*
}
    reply=${reply%?"$status"}
}
must() { # PATH [CURL_OPTION...]: the same; a refusal ends it all
    ask "$@"
    case $status in 2??) ;; *) die "$path: $status $reply" ;; esac
}
member() { # NAME: of $reply, a number or a text without quotation marks
    printf %s "$reply" | sed "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/"
}
to_hex() { od -An -v -tx1 | tr -d ' \n'; }
from_hex() { # DIGITS
    for byte in $(printf %s "$1" | sed 's/../& /g'); do
        # shellcheck disable=SC2059 # the format is one octal escape
        printf "\\$(printf %o "0x$byte")"
    done
}
sign() { # TEXT: with our key; openssl reads what it signs from a file
    printf %s "$1" >"$work/text"
    openssl pkeyutl -sign -rawin -inkey "$key" -in "$work/text" | to_hex
}

[ -e "$key" ] || openssl genpkey -algorithm ed25519 -out "$key"
# The raw key is the end of its DER form.
public_key=$(openssl pkey -in "$key" -pubout -outform DER | tail -c 32 | to_hex)
# Who signs what the server has drawn is given a token to read with, as is who registers. To spend, a signature is
# enough.
must "/api/auth/challenge?public_key=$public_key"
challenge=$(member challenge)
ask /api/auth/verify -d "$(printf '{"public_key":"%s","challenge":"%s","timestamp":%s,"mac":"%s","signature":"%s"}' \
    "$public_key" "$challenge" "$(member timestamp)" "$(member mac)" "$(sign "$challenge")")"
case $status in
200) ;;
404) # this server does not know the key
    email=customer-$(openssl rand -hex 6)@example.com
    must /api/auth/register -d "$(printf '{"email":"%s","name":"Customer","public_key":"%s"}' "$email" "$public_key")"
    echo "registered: $email, $(member balance) MC"
    ;;
*) die "$path: $status $reply" ;;
esac
token=$(member token)

must /api/products/featured
reply=$(printf %s "$reply" | sed 's/},/}\n/g' | grep '"id":' | grep -v -e '"stock":0,' -e '"price":0,' | head -n 1)
[ -n "$reply" ] || die "there is nothing to buy: no featured product has a price and is in stock"
product=$(member id)
price=$(member price)
echo "found: product $product for $price MC, $(member stock) left"

# What is signed is the intent as RFC 8785 writes it: members sorted, no blanks.
intent=$(printf '{"action":"spend","amount":"%s","nonce":"%s","product_id":"%s","timestamp":%s}' \
    "$price" "$(openssl rand -hex 16)" "$product" "$(date +%s)")
must /api/wallet/transact -d "$(printf '{"intent":%s,"public_key":"%s","signature":"%s"}' \
    "$intent" "$public_key" "$(sign "$intent")")"
receipt=$(printf %s "$reply" | sed 's/.*"receipt":\({[^}]*}\).*/\1/')
echo "bought: $(member order_id), $(member new_balance) MC left"

# The receipt comes as RFC 8785 writes it, with its signature behind: signed is the rest.
reply=$receipt
printf %s "$receipt" | sed 's/,"signature":"[0-9a-f]*"}$/}/' | tr -d '\n' >"$work/receipt"
from_hex "$(member signature)" >"$work/signature"
# The DER form of an Ed25519 key is a fixed beginning and the raw key.
must /api/keys
from_hex "302a300506032b6570032100$(member public_key)" >"$work/server.der"
openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey "$work/server.der" -in "$work/receipt" \
    -sigfile "$work/signature" >/dev/null || die "this receipt is not signed by the server: $receipt"
echo "signed by the server: $(cat "$work/receipt")"

must /api/wallet/balance -H "Authorization: Bearer $token"
echo "balance: $(member balance) MC"
