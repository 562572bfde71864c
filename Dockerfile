# The server with the in-process bridge: agents work in /workspace, state that is no document lives in /data.
FROM node:22-slim AS page
COPY baton/__init__.py /src/baton/__init__.py
COPY ui /src/ui
RUN cd /src/ui && npm ci --no-audit --no-fund && npm run build

FROM python:3.12-slim

RUN apt-get update \
 && apt-get install --yes --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 baton \
 && install --directory --owner baton --group baton --mode 0700 /data \
 && install --directory --owner baton --group baton /workspace

COPY . /src
COPY --from=page /src/baton/web/static/app /src/baton/web/static/app
RUN pip install --no-cache-dir '/src[claude]' && rm -rf /src

USER baton
WORKDIR /workspace
ENV BATON_DATA=/data
EXPOSE 3001
CMD ["baton", "serve", "--host", "0.0.0.0"]
