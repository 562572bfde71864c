# syntax=docker/dockerfile:1
# One image for the server and for a bridge. Agents work in /workspace; state that is no document lives in /data.

FROM node:22-slim AS page
COPY baton/__init__.py /src/baton/__init__.py
COPY ui /src/ui
WORKDIR /src/ui
RUN npm ci --no-audit --no-fund && npm run build

FROM python:3.12-slim AS wheel
WORKDIR /src
COPY . .
COPY --from=page /src/baton/web/static/app baton/web/static/app
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# git is what agents look at folders with. Its version is that of the base image's Debian.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 baton \
 && install --directory --owner baton --group baton --mode 0700 /data \
 && install --directory --owner baton --group baton /workspace

RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/*.whl)[claude]"

# By number, so that a platform can see that it is not root.
USER 1000:1000
WORKDIR /workspace
ENV BATON_DATA=/data
EXPOSE 3001
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=12 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://localhost:' + os.environ.get('PORT', '3001') + '/health', timeout=3)"]
CMD ["baton", "serve", "--host", "0.0.0.0"]
